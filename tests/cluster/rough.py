#!/usr/bin/env python3
"""A wire to the API server that no real one is: answers in other pieces, cut off, held back, replaced by 410, 429, 500 or by garbage.

    rough.py PORT SERVER_PORT CERT KEY SEED     serves TLS on all addresses; prints a line for each fault

What is asked is passed on as it is, and a fault may come after the server has done it.  Most watches meet a fault, of other
requests every seventh does.
"""
import http.client
import json
import os
import random
import socketserver
import ssl
import sys
import threading
import time

FAULTS = ["cut", "stall", "410", "429", "500", "garbage", "not http"]
STATUS = {"410": "Gone", "429": "Too Many Requests", "500": "Internal Server Error"}


def status(code):
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": int(code), "message": STATUS[code]}).encode()


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        self.connection = self.server.tls.wrap_socket(self.request, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.pieces = random.Random("%s %d" % (self.server.seed, next(self.server.numbers)))
        try:
            while self.one():
                pass
        except (OSError, ValueError, http.client.HTTPException):
            pass
        finally:
            self.connection.close()

    def send(self, data):
        """In TLS records of any size."""
        while data:
            n = self.pieces.choice([1, 2, 7, 100, 1400, 16000])
            self.connection.sendall(data[:n])
            data = data[n:]

    def chunks(self, data):
        while data:
            n = self.pieces.choice([1, 3, 50, 3000])
            self.send(b"%x\r\n%s\r\n" % (len(data[:n]), data[:n]))
            data = data[n:]

    def instead(self, code):
        text = status(code)
        self.send(b"HTTP/1.1 %s %s\r\nContent-Type: application/json\r\nRetry-After: 1\r\nContent-Length: %d\r\n\r\n%s" % (
            code.encode(), STATUS[code].encode(), len(text), text))

    def one(self):
        line = self.rfile.readline().split()
        if len(line) < 3:
            return False
        method, path, headers = line[0].decode(), line[1].decode(), {}
        while (head := self.rfile.readline().strip()):
            key, _, value = head.decode().partition(":")
            headers[key.strip()] = value.strip()
        body = self.rfile.read(int(headers.get("Content-Length", 0)))
        watch = "watch=1" in path or "watch=true" in path
        fault = self.pieces.choice(FAULTS) if self.pieces.random() < (0.6 if watch else 0.15) else None
        if fault:
            os.write(1, (json.dumps([fault, method, path]) + "\n").encode())     # one call: handlers are threads
        early = self.pieces.random() < 0.3
        if fault in STATUS and (early or method == "GET" and not watch):
            self.instead(fault)
            return True
        upstream = http.client.HTTPSConnection("127.0.0.1", self.server.upstream, timeout=600, context=self.server.trust)
        try:
            upstream.request(method, path, body or None, {k: v for k, v in headers.items() if k not in ("Host", "Content-Length", "Connection")})
            return self.answer(upstream.getresponse(), fault, watch)
        finally:
            upstream.close()

    def answer(self, answer, fault, watch):
        if fault in STATUS and not watch:       # done, and denied
            answer.read()
            self.instead(fault)
            return True
        if fault == "not http":
            self.send(bytes(self.pieces.randrange(256) for _ in range(300)))
            return False
        self.send(b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % (
            answer.status, answer.reason.encode(), answer.getheader("Content-Type", "application/json").encode()))
        end = time.monotonic() + self.pieces.uniform(10, 100) if watch else 0
        while True:
            if watch and fault:
                upstream_wait(answer, end - time.monotonic())
            data = answer.read1(65536) if not watch or not fault or time.monotonic() < end else b""
            if fault and time.monotonic() >= end:
                return self.fault(fault, data)
            if not data:
                self.send(b"0\r\n\r\n")
                return True
            self.chunks(data)

    def fault(self, fault, data):
        """In the middle of an answer."""
        self.chunks(data[:len(data) // 2])
        if fault == "stall":
            time.sleep(self.pieces.uniform(2, 8))
            self.chunks(data[len(data) // 2:])
        elif fault in STATUS:
            self.chunks(json.dumps({"type": "ERROR", "object": json.loads(status(fault))}).encode() + b"\n")
            self.send(b"0\r\n\r\n")
        elif fault == "garbage":
            self.chunks(b"\x00]}{\xff nonsense \"" * 20)
        return False


def upstream_wait(answer, seconds):
    """Until there is something to read, or the time is over."""
    answer.fp.raw._sock.settimeout(max(0.05, seconds))
    try:
        answer.fp.peek(1)
    except (TimeoutError, OSError):
        pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 64


def main(port, upstream, cert, key, seed):
    server = Server(("", int(port)), Handler)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(cert, key)
    server.trust = ssl._create_unverified_context()
    server.upstream, server.seed = int(upstream), seed
    lock, count = threading.Lock(), iter(range(1 << 30))

    class Numbers:
        def __next__(self):
            with lock:
                return next(count)
    server.numbers = Numbers()
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
