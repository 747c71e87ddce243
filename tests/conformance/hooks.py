"""Rules that the OpenAPI document tells only in words: JSON Schema has no way to, or none that works with floats."""

import schemathesis

RULES = {
    # A request id comes in the body or in the header Idempotency-Key, and the two are never different ones.
    ("#/requestId", "should not be empty"),
    ("#/requestId", "must be the same as the Idempotency-Key header when both are given"),
    # The total is of all lines.
    ("#/items", "must add up to at most 15 significant digits, the most that a JSON number holds exactly"),
}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if case.operation.label != "POST /api/orders" or response.status_code != 400:
        return True
    errors = response.json()["errors"]
    return not all((error["pointer"], error["detail"]) in RULES for error in errors)


# A price has at most 6 decimals and 15 digits.
@schemathesis.hook.apply_to(method="POST", path="/api/orders")
def map_body(context, body):
    items = body.get("items") if isinstance(body, dict) else None
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and isinstance(item.get("price"), float):
            item["price"] = float(f"{round(item['price'], 6):.15g}")
    return body
