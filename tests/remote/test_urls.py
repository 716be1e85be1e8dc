"""URLs of transports: a password stands after a colon, and is not shown, wherever it stands."""

from __future__ import annotations

import pytest

from manifold.engines._remote.place import check_url
from manifold.errors import ConfigError
from manifold.redaction import masked
from manifold.registry import ENGINES

WITHOUT_USERS = [
    row.scheme for row in ENGINES.entries.values() if row.reads.endswith("check_url") and not row.has_users
]
KEY = "a-key+of_some(length)"


@pytest.mark.parametrize("scheme", WITHOUT_USERS)
@pytest.mark.parametrize(
    "login", [f"{KEY}@", f":{KEY}@", f"{KEY}:@", f"{KEY}:{KEY}@", f"{KEY}/{KEY}@", f":{KEY}#{KEY}@", f"{KEY}@{KEY}@"]
)
def test_a_password_is_masked_with_and_without_its_colon(scheme: str, login: str) -> None:
    assert masked(f"{scheme}://{login}host:7000/?queue=a") == f"{scheme}://:***@host:7000/?queue=a"


@pytest.mark.parametrize("scheme", WITHOUT_USERS)
def test_a_url_without_a_password_is_shown_as_it_is(scheme: str) -> None:
    assert masked(f"{scheme}://host:7000?queue=a") == f"{scheme}://host:7000?queue=a"


@pytest.mark.parametrize("scheme", WITHOUT_USERS)
def test_a_password_in_the_place_of_a_user_is_refused_with_what_to_write(scheme: str) -> None:
    for login in (KEY, f"{KEY}:", f"{KEY}:{KEY}"):
        with pytest.raises(ConfigError, match="write a colon before the password") as refused:
            check_url(f"{scheme}://{login}@host:7000")
        assert KEY not in str(refused.value)
        assert f"{scheme}://:***@host:7000" in str(refused.value)


@pytest.mark.parametrize("scheme", WITHOUT_USERS)
def test_a_place_shows_no_password(scheme: str) -> None:
    place = check_url(f"{scheme}://:{KEY}@host:7000")
    assert place.password == KEY
    assert KEY not in f"{place} {place!r} {place.address}"
