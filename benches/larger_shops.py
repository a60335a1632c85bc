#!/usr/bin/env python3
"""What the size of a shop costs: a sync with a cursor, and a pull that is too large to be held.

  cargo build --release
  python3 benches/larger_shops.py                                    # the embedded engine
  MONGO_URL='mongodb://127.0.0.1:27017/shops?replicaSet=rs0' python3 benches/larger_shops.py

Starts servers of its own on free ports of 127.0.0.1 and ends them. Needs nothing but Python. With MONGO_URL it writes
to that database, which should be empty. SOLE_WRITER and other settings of the server are passed on.
"""
import http.client, json, os, re, statistics, subprocess, sys, tempfile, time, base64, hashlib, hmac

BINARY = os.path.join(os.path.dirname(__file__), "..", "target", "release", "viveka-sync")
SECRET = "larger-shops-secret-not-for-production-0123456789"
ROUNDS = int(os.environ.get("ROUNDS", "150"))
LARGE = int(os.environ.get("LARGE", "500000"))


def token(client):
    part = lambda value: base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
    text = f"{part({'alg': 'HS256', 'typ': 'JWT'})}.{part({'clientId': client, 'exp': int(time.time()) + 86400})}"
    mac = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


class Server:
    def __init__(self):
        self.data = tempfile.TemporaryDirectory()
        env = {**os.environ, "PORT": "0", "JWT_SECRET": SECRET, "DATA_DIR": self.data.name, "LOG": "info"}
        self.process = subprocess.Popen([BINARY], env=env, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            found = re.search(r"address=(?:\x1b\[\d*m)*127\.0\.0\.1:(\d+)", re.sub(r"\x1b\[[0-9;]*m", "", line))
            if found:
                self.port = int(found.group(1))
                break
        # What it logs from now on is of no interest, and the pipe must not fill.
        import threading
        threading.Thread(target=lambda: [None for _ in self.process.stderr], daemon=True).start()
        while self.ask("GET", "/api/health")[0] != 200:
            time.sleep(0.05)

    def ask(self, method, path, body=None, client=None, connection=None):
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Authorization": f"Bearer {token(client)}"} if client else {}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        response = connection.getresponse()
        return response.status, response.read()

    def sync(self, client, body, connection=None):
        status, answer = self.ask("POST", "/api/sync", body, client, connection)
        assert status == 200, answer[:500]
        return json.loads(answer)

    def rss_mb(self, peak=False):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmHWM:\s+(\d+)" if peak else r"VmRSS:\s+(\d+)", status).group(1)) / 1024

    def forget_peak(self):
        open(f"/proc/{self.process.pid}/clear_refs", "w").write("5")

    def stop(self):
        self.process.terminate()
        self.process.wait()
        self.data.cleanup()


def new_client():
    return f"{int(time.time()):08x}" + os.urandom(8).hex()


def fill(server, client, items, invoices):
    """A shop of so many records; gives ids of items and invoices, and a cursor."""
    ids, bills, cursor = [], [], None
    for start in range(0, items, 5000):
        create = [{"name": f"Item {i}", "price": 100.25, "stock": 1000000} for i in range(start, min(items, start + 5000))]
        answer = server.sync(client, {"item": {"create": create}, "data": "none"})
        ids += answer["synced"]["itemsCreated"]
    for start in range(0, invoices, 2000):
        lines = lambda i: [{"productId": ids[(3 * i + k) % len(ids)], "quantity": 1, "costPerUnit": 300000} for k in range(3)]
        create = [{"products": lines(i)} for i in range(start, min(invoices, start + 2000))]
        answer = server.sync(client, {"invoice": {"create": create}, "data": "none"})
        bills += answer["synced"]["invoicesCreated"]
    return ids, bills


def batch(ids, bills, n, since):
    """20 operations, as the scenario s1 of the side-by-side bench has them."""
    pick = lambda i: ids[i % len(ids)]
    return {
        "since": since,
        "item": {"create": [{"name": f"new {n}-{i}", "price": 1.5, "stock": 5} for i in range(5)],
                 "update": [{"_id": pick(n * 5 + i), "price": 2.5} for i in range(5)],
                 "delete": [pick(n * 2 + i + len(ids) // 2) for i in range(2)]},
        "invoice": {"create": [{"products": [{"productId": pick(n * 10 + 2 * i + k), "quantity": 1} for k in range(2)]
                                + [{"itemName": f"line {n}-{i}", "quantity": 1, "costPerUnit": 20.5}]} for i in range(5)]},
        "payment": {"create": [{"invoiceId": bills[(n * 3 + i) % len(bills)], "amount": 1} for i in range(3)]},
    }


def cost_of_size(server):
    """The same batches with a cursor, in turns, on a shop of 200 records and on one of 20,000."""
    shops = {}
    for name, items, invoices in (("small", 200, 50), ("large", 10_000, 10_000)):
        client = new_client()
        ids, bills = fill(server, client, items, invoices)
        cursor = server.sync(client, {})["cursor"]
        shops[name] = {"client": client, "ids": ids, "bills": bills, "cursor": cursor, "times": [],
                       "connection": http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)}
    for n in range(ROUNDS + 20):
        for shop in shops.values():
            body = batch(shop["ids"], shop["bills"], n, shop["cursor"])
            began = time.perf_counter()
            answer = server.sync(shop["client"], body, shop["connection"])
            took = time.perf_counter() - began
            assert answer["dataMode"] == "delta", answer["dataMode"]
            shop["cursor"] = answer["cursor"]
            if n >= 20:
                shop["times"].append(took * 1000)
    small, large = (statistics.median(shops[name]["times"]) for name in ("small", "large"))
    print(f"s1 batch with since, p50 of {ROUNDS}: 250 records {small:.2f} ms, 20,000 records {large:.2f} ms, ratio {large / small:.2f}")


def cost_of_a_large_pull(server):
    """A full pull of LARGE records: time to the first byte, whole time, memory."""
    client = new_client()
    fill(server, client, LARGE, 0)
    time.sleep(1)
    server.forget_peak()
    before = server.rss_mb()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    began = time.perf_counter()
    connection.request("POST", "/api/sync", None, {"Authorization": f"Bearer {token(client)}"})
    response = connection.getresponse()
    first, length = time.perf_counter() - began, 0
    while piece := response.read(1 << 20):
        length += len(piece)
    whole = time.perf_counter() - began
    print(f"full pull of {LARGE:,} records: {length / 1e6:.0f} MB of JSON, first byte {first * 1000:.0f} ms, all {whole:.2f} s "
          f"({length / 1e6 / whole:.0f} MB/s), server RSS {before:.0f} MB before, peak {server.rss_mb(peak=True):.0f} MB")


server = Server()
try:
    print("engine:", json.loads(server.ask("GET", "/api/health")[1])["engine"])
    cost_of_size(server)
    cost_of_a_large_pull(server)
finally:
    server.stop()
