"""Creates an order and lists it through the client that openapi-python-client generated; prints the order's id."""

import datetime
import sys

from orders_client import Client
from orders_client.api.orders import create_order, list_orders
from orders_client.models import Buyer, CreateOrder, Item, OrderList, OrderRef

client = Client(base_url=sys.argv[1])
order = CreateOrder(
    request_id="python",
    tenant_id="t-1",
    buyer=Buyer(email="alice@example.com", name="Alice"),
    items=[Item(sku="SKU-1", qty=2, price=49.99)],
)
created = create_order.sync_detailed(client=client, body=order)
assert created.status_code == 201 and isinstance(created.parsed, OrderRef), created
order_id = created.parsed.order_id
yesterday = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
listed = list_orders.sync(
    client=client, tenant_id="t-1", status="PENDING", buyer_email="alice@example.com", from_=yesterday
)
assert isinstance(listed, OrderList), listed
assert [row.total for row in listed.items if row.order_id == order_id] == [99.98], listed
print(order_id)
