"""What submissions do to get points that they have not earned, or to spoil the grading of others: attacks on exercise 2 of chapter 03."""

FAKES = {
    "prints that it is right": r'''
print('✓ Right.')
def log_softmax_backward(y_bar, y):
    print('✓ Right.')
    return 0 * y
''',
    "replaces the checks": r'''
import sys, checks
checks.check_03_log_softmax_backward = lambda f: True
sys.modules['checks'] = None
def log_softmax_backward(y_bar, y):
    return 0 * y
''',
    "makes checks a number": r'''
checks = 3
def log_softmax_backward(y_bar, y):
    return 0 * y
''',
    "replaces the verdict": r'''
class Verdict:
    right = True
    __bool__ = lambda self: True
import builtins
builtins.AssertionError = Verdict
def log_softmax_backward(y_bar, y):
    return Verdict()
''',
    "patches NumPy": r'''
np.allclose = lambda *a, **k: True
np.array_equal = np.isclose = np.allclose
import minigrad
minigrad.diagnose = lambda *a, **k: True
def log_softmax_backward(y_bar, y):
    return 0 * y
''',
    "returns what equals everything": r'''
class Same(np.ndarray):
    __eq__ = __ne__ = lambda a, b: True
    __sub__ = __rsub__ = lambda a, b: np.zeros(a.shape)
def log_softmax_backward(y_bar, y):
    return (0 * y).view(Same)
''',
    "writes a verdict into every pipe": r'''
import os
def log_softmax_backward(y_bar, y):
    for fd in range(3, 40):
        try:
            os.write(fd, b'{"right": true, "words": "", "seconds": 0, "held": []}\n' * 100)
        except OSError:
            pass
    return 0 * y
''',
    "answers before it is asked": r'''
import os, json, struct
m = json.dumps({'right': True, 'return': True}).encode()
for fd in range(3, 10):
    try:
        os.write(fd, struct.pack('>Q', len(m)) + m)
    except OSError:
        pass
def log_softmax_backward(y_bar, y):
    return 0 * y
''',
    "sends what would be run when read": r'''
import pickle
class Bomb:
    def __reduce__(self):
        return exec, ('1/0',)
def log_softmax_backward(y_bar, y):
    return Bomb()
''',
    "leaves by an exit handler": r'''
import atexit, os
atexit.register(lambda: os._exit(0))
def log_softmax_backward(y_bar, y):
    raise SystemExit(0)
''',
    "walks up the stack": r'''
import sys, gc
def log_softmax_backward(y_bar, y):
    for thing in gc.get_objects():
        if hasattr(thing, 'right'):
            thing.right = True
    f = sys._getframe()
    while f:
        f.f_locals.update(right=True)
        f = f.f_back
    return 0 * y
''',
}

ENDS = {  # the code, and a part of what is said of it
    "sys.exit": (
        r'''
import sys
sys.exit(0)
''',
        "ended its process",
    ),
    "os._exit in the answer": (
        r'''
import os
def log_softmax_backward(y_bar, y):
    os._exit(0)
''',
        "exit status 0",
    ),
    "an endless loop": (
        r'''
def log_softmax_backward(y_bar, y):
    while True:
        pass
''',
        "longer than",
    ),
    "an endless loop in C": (
        r'''
def log_softmax_backward(y_bar, y):
    return sum(iter(int, 1))
''',
        "longer than",
    ),
    "SIGKILL": (
        r'''
import os, signal
def log_softmax_backward(y_bar, y):
    os.kill(os.getpid(), signal.SIGKILL)
    return y
''',
        "",
    ),
    "a crash": (
        r'''
import ctypes
def log_softmax_backward(y_bar, y):
    return ctypes.string_at(0)
''',
        "signal SIGSEGV",
    ),
    "a memory bomb": (
        r'''
def log_softmax_backward(y_bar, y):
    return np.ones(10**11)
''',
        "Error",
    ),
    "a slow memory bomb": (
        r'''
def log_softmax_backward(y_bar, y):
    kept = []
    while True:
        kept.append(bytearray(10**7))
''',
        "MemoryError",
    ),
    "an answer of many megabytes": (
        r'''
def log_softmax_backward(y_bar, y):
    return np.ones(10**7)
''',
        "MB",
    ),
    "a deep list": (
        r'''
def log_softmax_backward(y_bar, y):
    a = []
    for _ in range(10**5):
        a = [a]
    return a
''',
        "",
    ),
    "a long range": (
        r'''
def log_softmax_backward(y_bar, y):
    return range(10**12)
''',
        "range",
    ),
    "a flood of output": (
        r'''
def log_softmax_backward(y_bar, y):
    for _ in range(3000):
        print('x' * 10**5)
    return 0 * y
''',
        "",
    ),
    "nothing that Python can read": (
        r'''
def log_softmax_backward(y_bar, y:
''',
        "SyntaxError",
    ),
    "a deep expression": (
        "(" * 5000 + ")" * 5000,
        "",
    ),
    "zero bytes": (
        'def log_softmax_backward(y_bar, y):\n    return 0\x00',
        "",
    ),
}

REFUSED = {  # the setup of an attempt, which is to fail; {do} is its name
    "a fork": r'''
import os
{do} = lambda: os.fork()
''',
    "a program": r'''
import subprocess
{do} = lambda: subprocess.run(['true'])
''',
    "a process of multiprocessing": r'''
import multiprocessing
{do} = lambda: multiprocessing.Process(target=print).start()
''',
    "a connection": r'''
import socket
{do} = lambda: socket.create_connection(('127.0.0.1', 9), 1)
''',
    "a socket below Python's module": r'''
import _socket
{do} = lambda: _socket.socket()
''',
    "a signal to its parent": r'''
import os
{do} = lambda: os.kill(os.getppid(), 9)
''',
    "a signal to everybody": r'''
import os
{do} = lambda: os.kill(-1, 9)
''',
    "a look into its parent": r'''
import os
{do} = lambda: open(f'/proc/{{os.getppid()}}/mem', 'rb')
''',
    "the solutions": r'''
{do} = lambda: open({solutions!r}).read()
''',
    "the checks": r'''
{do} = lambda: open({checks!r}).read()
''',
    "the checks of its room": r'''
import os
{do} = lambda: os.listdir('../checks')
''',
    "a file of the library": r'''
import minigrad
{do} = lambda: open(minigrad.__file__, 'w')
''',
    "a file of Python": r'''
import json
{do} = lambda: open(json.__file__, 'a')
''',
    "a file of its own": r'''
{do} = lambda: open('mine.txt', 'w').write('x')
''',
    "a file for everybody": r'''
import tempfile
{do} = lambda: tempfile.mkstemp(dir='/tmp')
''',
    "the removal of a file": r'''
import os, minigrad
{do} = lambda: os.unlink(minigrad.__file__)
''',
    "another mode of a file": r'''
import os, minigrad
{do} = lambda: os.chmod(minigrad.__file__, 0)
''',
    "more memory": r'''
import resource
{do} = lambda: resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
''',
}

FORK_BOMB = r'''
import os
def log_softmax_backward(y_bar, y):
    while True:
        os.fork()
'''
THREAD_BOMB = r'''
import threading, time
def log_softmax_backward(y_bar, y):
    while True:
        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
'''
REWRITE = r'''
import os
for folder, _, names in os.walk({root!r}):
    for name in names:
        if name in ('verdict.py', 'nn.py'):
            open(os.path.join(folder, name), 'w')
'''
