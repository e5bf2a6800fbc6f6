#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""fake_agent.py MODE [IMAGE [PID]]: answers goinspect as a well-behaved agent, or otherwise.

The socket is $GOMALLOC_DIR/PID.sock, PID being the fake's own unless given.  IMAGE is a whole path:
a "goinspect ps" of somebody else may ask for it, too.  The protocol is that of gomalloc/agent.h,
written down here a second time.  Modes:

    good        sends the image          trickle     the same, a byte at a time
    busy        twice busy, then good    many        the image and seven more descriptors
    magic       not the agent's magic    version     another version of the protocol
    size        another reply size       short       half a reply
    hangup      no reply                 silent      never a reply
    deaf        does not even accept     late        answers a PING, never sends the image
    nofd        a reply without image    pipe        a pipe for an image
    zero        /dev/zero for an image   huge        an image of 1 TiB, all of it a hole
    empty       an image of 0 bytes      refuse      FORBIDDEN, with control characters
    left        leaves the socket behind and ends nothing
    soon        listens a moment after the socket is there
    old         knows no verb but PING and IMAGE
    slow        answers after more than a second
    deafened    answers a PING, and takes no more
    unread      hangs up with the request unread
"""
import array
import os
import socket
import struct
import sys
import time

MAGIC, VERSION = 0x474D5251, 1
PING, IMAGE, WHY = 1, 2, 6
OK, BAD_REQUEST, FORBIDDEN, BUSY = 0, 1, 3, 5
REQUEST = struct.Struct("<IIIIQ")
REPLY = struct.Struct("<IIIIQ104s")

mode = sys.argv[1]
image = sys.argv[2] if len(sys.argv) > 2 else os.devnull
assert os.path.isabs(image), image
pid = sys.argv[3] if len(sys.argv) > 3 else os.getpid()


def memfd(size=None):
    fd = os.memfd_create("image")
    if size is None:
        with open(image, "rb") as f:
            os.write(fd, f.read())
    else:
        os.ftruncate(fd, size)
    return fd


def descriptors():
    if mode == "nofd":
        return []
    if mode == "pipe":
        return [os.pipe()[0]]
    if mode == "zero":
        return [os.open("/dev/zero", os.O_RDONLY)]
    if mode == "huge":
        return [memfd(1 << 40)]
    if mode == "empty":
        return [memfd(0)]
    return [memfd()] + [memfd(0) for _ in range(7 if mode == "many" else 0)]


def reply(status=OK, message=b""):
    return REPLY.pack(MAGIC + (mode == "magic"), VERSION + (mode == "version"),
                      REPLY.size + (mode == "size"), status, 1, message)


def send(connection, data, fds):
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    step = 1 if mode == "trickle" else len(data)
    for i in range(0, len(data), step):
        connection.sendmsg([data[i:i + step]], ancillary if i == 0 else [])


def answer(connection, verb, count):
    if mode == "hangup":
        return False
    if mode == "slow" and count == 0:
        time.sleep(1.5)
    if mode == "deafened":
        connection.shutdown(socket.SHUT_RD)
    if mode == "silent" or (mode == "late" and verb in (IMAGE, WHY)):
        time.sleep(3600)
    if mode == "short":
        send(connection, reply()[:REPLY.size // 2], [])
        return False
    if mode == "busy" and count < 2:
        send(connection, reply(BUSY, b"another request is being served"), [])
    elif mode == "refuse":
        send(connection, reply(FORBIDDEN, b"no\x1b[31m way"), [])
    elif mode == "old" and verb not in (PING, IMAGE):
        send(connection, reply(BAD_REQUEST, b"unknown verb"), [])
    else:
        send(connection, reply(), descriptors() if verb in (IMAGE, WHY) else [])
    return True


def serve(connection):
    count = 0
    if mode == "unread":
        connection.recv(1, socket.MSG_PEEK)
        connection.close()
        return
    while len(request := connection.recv(REQUEST.size, socket.MSG_WAITALL)) == REQUEST.size:
        _, _, _, verb, _ = REQUEST.unpack(request)
        if not answer(connection, verb, count):
            break
        count += 1
    connection.close()


os.chdir(os.environ["GOMALLOC_DIR"])  # the path may be longer than a socket's may be
listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{pid}.sock.new")
if mode not in ("left", "soon"):
    listener.listen(0 if mode == "deaf" else 8)
clients = []
if mode == "deaf":
    try:
        for _ in range(8):
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
            clients[-1].connect(f"{pid}.sock.new")
    except BlockingIOError:
        pass
os.rename(f"{pid}.sock.new", f"{pid}.sock")
if mode == "soon":
    time.sleep(0.3)
    listener.listen(8)
if mode in ("deaf", "left"):
    if mode == "left":
        listener.close()
    time.sleep(3600)
while True:
    try:
        serve(listener.accept()[0])
    except (BrokenPipeError, ConnectionResetError):
        pass
