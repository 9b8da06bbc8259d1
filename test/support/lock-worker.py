# Locks files by request, one JSON document a line; the answer is {"value": ...} or {"error": "ENAME"}.
# The runtime of the tests has no fcntl(2).
import errno
import fcntl
import json
import os
import signal
import struct
import sys

os.chdir(sys.argv[1])
# A signal that interrupts what waits, instead of ending the program.
signal.signal(signal.SIGUSR1, lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, 'signal')))
files = {}
FLOCK = 'hhqqi'  # struct flock of 64-bit Linux
TYPES = {'r': fcntl.F_RDLCK, 'w': fcntl.F_WRLCK, 'u': fcntl.F_UNLCK}
COMMANDS = {
    'getlk': fcntl.F_GETLK,
    'setlk': fcntl.F_SETLK,
    'setlkw': fcntl.F_SETLKW,
    'ofd_setlk': 37,
    'ofd_setlkw': 38,
}


def perform(request):
    op = request['op']
    if op == 'ready':
        return 'ready'
    name = request.get('as', request.get('name'))
    if op == 'open':
        flags = os.O_RDWR | os.O_CREAT if request.get('writes', True) else os.O_RDONLY
        files[name] = os.open(request['name'], flags, 0o666)
        return None
    fd = files[name]
    if op == 'close':
        os.close(files.pop(name))
        return None
    if op in COMMANDS:
        lock = struct.pack(
            FLOCK, TYPES[request['type']], os.SEEK_SET, request.get('start', 0), request.get('length', 0), 0
        )
        found = struct.unpack(FLOCK, fcntl.fcntl(fd, COMMANDS[op], lock))
        if op != 'getlk':
            return None
        kind = {v: k for k, v in TYPES.items()}[found[0]]
        return kind if kind == 'u' else [kind, found[2], found[3], found[4]]
    if op == 'flock':
        how = {'r': fcntl.LOCK_SH, 'w': fcntl.LOCK_EX, 'u': fcntl.LOCK_UN}[request['type']]
        fcntl.flock(fd, how | (0 if request.get('waits') else fcntl.LOCK_NB))
        return None
    if op == 'write':
        return os.pwrite(fd, request['text'].encode(), request.get('start', 0))
    if op == 'read':
        return os.pread(fd, request.get('bytes', 4096), request.get('start', 0)).decode()
    if op == 'size':
        return os.fstat(fd).st_size
    if op == 'count':
        # Read, add and write under a lock, again and again: what is lost shows in the sum.
        for _ in range(request['times']):
            if request['by'] == 'flock':
                fcntl.flock(fd, fcntl.LOCK_EX)
            else:
                fcntl.lockf(fd, fcntl.LOCK_EX, 1, request.get('start', 0))
            n = int(os.pread(fd, 32, 0) or b'0')
            os.pwrite(fd, b'%d' % (n + 1), 0)
            if request['by'] == 'flock':
                fcntl.flock(fd, fcntl.LOCK_UN)
            else:
                fcntl.lockf(fd, fcntl.LOCK_UN, 1, request.get('start', 0))
        return None
    raise ValueError(op)


for line in sys.stdin:
    try:
        answer = {'value': perform(json.loads(line))}
    except OSError as error:
        # Python knows this one by its other name.
        code = 'EDEADLK' if error.errno == errno.EDEADLK else errno.errorcode[error.errno]
        answer = {'error': code}
    print(json.dumps(answer), flush=True)
