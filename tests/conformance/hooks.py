"""Rules that the OpenAPI document tells only in words: JSON Schema has no way to, or none that works with floats."""

import schemathesis

# A request id comes in the body or in the header Idempotency-Key, and the two are never different ones.
REQUEST_ID_RULES = {
    "should not be empty",
    "must be the same as the Idempotency-Key header when both are given",
}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    if case.operation.label != "POST /api/orders" or response.status_code != 400:
        return True
    errors = response.json()["errors"]
    return not all(error["pointer"] == "#/requestId" and error["detail"] in REQUEST_ID_RULES for error in errors)


# A price has at most 6 decimals.
@schemathesis.hook.apply_to(method="POST", path="/api/orders")
def map_body(context, body):
    items = body.get("items") if isinstance(body, dict) else None
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and isinstance(item.get("price"), float):
            item["price"] = round(item["price"], 6)
    return body
