"""The engine and the worker over any `Transport`: calls are sent to workers that we start ourselves.

One file, one concern:

* `manifold.abc.transport`: the contract, five methods that carry bytes between mailboxes. `place`: what a URL says.
* `messages`: what coordinators and workers say to each other; `signing`: who may, and each message once.
* `parts`: messages larger than a transport takes; `links`: the two threads of a process that use a transport.
* `engine`: the coordinator's side; `worker`: the other one, behind `manifold worker URL`. What it has: `answers` that
  nobody has taken yet, `recent` calls, and `execute`, which alone unpickles.
* `mailboxes`: what a hub keeps in memory, `polled` where it has one thread; `access`: passwords and TLS; `sockets` that
  ask for them.
"""
