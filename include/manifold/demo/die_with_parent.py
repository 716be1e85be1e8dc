"""Become a command that ends with its parent: `die_with_parent.py PARENT SIGNAL USER COMMAND…`. Run by path.

- It imports nothing of Manifold.
- On Linux the kernel sends SIGNAL when the thread that started this process is gone, even by SIGKILL.
  Elsewhere nothing happens then, and the records of `manifold.demo.process` end it at the next start.
- USER, where it is not empty, is who the command runs as. The kernel forgets the parent at a change of user,
  so that comes first; and python itself may lie where that user cannot read, so it runs in here, not outside.
- A script of its own, because a `preexec_fn` may deadlock in a process that has threads.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    parent, number, user, *command = sys.argv[1:]
    if user:
        import pwd

        account = pwd.getpwnam(user)
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        os.chdir("/")
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != int(parent):
        sys.exit("the process that started this one ended meanwhile")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
