"""Rules that the OpenAPI document tells only in words: JSON Schema has no way to, or none that works with floats."""

import os
import re

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
    if case.operation.label != "POST /api/orders" or response.status_code not in (400, 422):
        return True
    if response.status_code == 422:
        # In mode jwt, an order names only uploads of its own tenant.
        return response.json()["type"] != "urn:orders:problem:foreign-attachment"
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


# A stream that cannot go on from where the client says begins with `feed.reset`; others may stay silent.
@schemathesis.hook.apply_to(method="GET", path="/api/orders/events")
def map_headers(context, headers):
    return {"Last-Event-ID": "x", **(headers if isinstance(headers, dict) else {})}


# The tenant of the token. Requests about others are refused, so most are about this one.
TENANT = os.environ.get("ORDERS_TEST_TENANT")

if TENANT:

    def of_the_tenant(values):
        tenant = values.get("tenantId") if isinstance(values, dict) else None
        # What breaks the rule stays as it is.
        if isinstance(tenant, str) and re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tenant):
            values["tenantId"] = TENANT
        return values

    @schemathesis.hook
    def map_query(context, query):
        return of_the_tenant(query)

    @schemathesis.hook("map_body")
    def map_any_body(context, body):
        return of_the_tenant(body)
