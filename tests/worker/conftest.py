"""Each test has a home, a ledger and a store of its own."""

from tests.home import home as home
