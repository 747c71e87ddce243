# python-socketio for the system tests: prints what it is told when it connects.
# usage: python client.py URL TENANT TRANSPORT
import json
import sys
import threading

import socketio

url, tenant, transport = sys.argv[1:]
told = threading.Event()
client = socketio.Client()


@client.on('connected')
def connected(who, place):
    print(json.dumps(who), flush=True)
    told.set()


client.connect(url, auth={'tenantId': tenant}, transports=[transport], socketio_path='ws')
told.wait(60)
client.disconnect()
