"""The API's routes, all below `/manifold/api`. Reading is GET, and changes nothing; whatever changes something is POST.

| route | answers |
|---|---|
| `GET /scatters` | the list |
| `GET /scatters/{uid}` | one scatter |
| `GET /scatters/{uid}/rate`, `/map`, `/timeline` | its plots |
| `GET /scatters/{uid}/errors`, `/failures`, `/failures/{pos}`, `/failures.jsonl` | its failed items |
| `POST /scatters/{uid}/controls`, `/redrive` | what a person wants of it |

Every GET of JSON has an ETag; with `If-None-Match` an unchanged answer is a 304, for the price of one small query.
"""
