"""Signs webhooks as sign.mjs does, by the Python library of Standard Webhooks."""

import json
import sys
from datetime import datetime, timezone

from standardwebhooks.webhooks import Webhook


def sign(webhook):
    at = datetime.fromtimestamp(webhook["at"], timezone.utc)
    signature = Webhook(webhook["secret"]).sign(webhook["id"], at, webhook["body"])
    return {
        "webhook-id": webhook["id"],
        "webhook-timestamp": str(webhook["at"]),
        "webhook-signature": signature,
    }


print(json.dumps([sign(webhook) for webhook in json.loads(sys.argv[1])]))
