"""What a small Python service does at its start: files, threads, time, hashes, JSON."""
import hashlib
import json
import os
import sys
import threading
import time

with open("/tmp/data.json", "w") as file:
    json.dump({"numbers": list(range(5)), "text": "grüße"}, file)
with open("/tmp/data.json") as file:
    data = json.load(file)
print("json", data["numbers"], data["text"])

results = {}
def work(index):
    time.sleep(0.01)
    results[index] = hashlib.sha256(str(index).encode()).hexdigest()[:8]
threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("threads", [results[index] for index in range(3)], len(results))

start = time.monotonic()
time.sleep(0.05)
print("slept", 0.05 <= time.monotonic() - start < 5, time.time() > 1_700_000_000)
print("md5", hashlib.md5(b"isopod").hexdigest())
os.makedirs("/tmp/a/b")
print("files", sorted(os.listdir("/")) == sorted(os.listdir("/")), os.path.isdir("/tmp/a/b"), os.getpid())
print("urandom", len(os.urandom(16)))
sys.exit(17)
