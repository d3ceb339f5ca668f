"""Calls Micetro with the client that its vendor gives to Python programs, and prints what came of it as JSON.

    vendor.py login URL USERNAME      the password is a line of standard input
    vendor.py auth URL USERNAME       the value of `auth` is a line of standard input
"""

import json
import sys
from urllib.parse import quote

from bluecat_libraries.http_client import ErrorResponse
from bluecat_libraries.micetro.apiv2 import Client


def outcome(call):
    """What a call returned, or what the client says about its failure."""
    try:
        return {"returned": call()}
    except ErrorResponse as error:
        return {"raised": type(error).__name__, "message": error.message, "code": getattr(error, "code", None)}


def read(client, username):
    """What is read is put beside how it is read.

    The user is asked for by name: the library below the client takes the dot out of `/users/.`.
    """
    return {
        "is_authenticated": client.is_authenticated,
        "micetro_url": client.micetro_url,
        "micetro_version": outcome(lambda: str(client.micetro_version)),
        "dns_servers": outcome(lambda: client.http_get("/dnsServers", params={"limit": 2})),
        "user": outcome(lambda: client.http_get("/users/" + quote(username))),
        "servers": outcome(lambda: client.http_get("/servers")),
    }


def write(client):
    """A record is made, changed and removed."""
    record = {"dnsRecord": {"name": "vendor", "type": "A", "data": "192.0.2.77"}}
    made = client.http_post("/dnsZones/1/dnsRecords", json=record)
    path = "/" + made["result"]["ref"]
    client.http_put(path, json={"properties": {"comment": "by the vendor"}}, expected_status_codes=[204])
    comment = client.http_get(path)["result"]["dnsRecord"]["comment"]
    client.http_delete(path, expected_status_codes=[204])
    return {"made": made, "comment": comment, "gone": outcome(lambda: client.http_get(path))}


def main():
    """Does what the arguments say."""
    how, url, username = sys.argv[1:]
    secret = sys.stdin.readline().rstrip("\n")
    with Client(url) as client:
        if how == "login":
            login = outcome(lambda: client.authenticate(username, secret))
            said = {"login": login, **read(client, username), "write": outcome(lambda: write(client))}
        else:
            client.auth = secret
            said = read(client, username)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
