"""Objects that cannot go over the wire: they stay where they are, and the other side uses them by number, in calls and attributes.

Both processes have such objects: a check hands out functions and graphs, an answer hands some of its own to these functions.  A question may
come back before its answer does, when what is used asks in turn; so whoever waits for a reply serves questions meanwhile.
"""

from __future__ import annotations

import builtins
import operator
import sys
from collections.abc import Callable, Iterator
from typing import Any

import wire

Message = dict[str, Any]


class Remote:
    """An object of the other process."""

    def __init__(self, objects: Objects, number: int) -> None:
        self.__dict__.update(_objects=objects, _number=number)

    def __call__(self, *args: Any) -> Any:
        objects = self.__dict__["_objects"]
        return objects.ask({"use": self.__dict__["_number"], "args": objects.encode(args)})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self.__dict__["_objects"].ask({"use": self.__dict__["_number"], "attribute": name})


    def _special(self, name: str, *args: Any) -> Any:
        objects = self.__dict__["_objects"]
        return objects.ask({"use": self.__dict__["_number"], "special": name, "args": objects.encode(args)})

    def __getitem__(self, key: Any) -> Any:
        return self._special("getitem", key)

    def __contains__(self, key: Any) -> bool:
        return bool(self._special("contains", key))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._special("list"))

    def __len__(self) -> int:
        return int(self._special("len"))

    def __bool__(self) -> bool:
        return True


SPECIAL: dict[str, Callable[..., Any]] = {"getitem": operator.getitem, "contains": operator.contains, "list": list, "len": len}


class Objects:
    """What stays here, by number, and what stays with the other.

    ``exchange(message)`` sends and gives the next message; ``named`` has what both sides know by name.
    """

    def __init__(self, exchange: Callable[[Message], Message], named: dict[str, Any] | None = None) -> None:
        self.exchange, self.named = exchange, named or {}
        self.own: list[Any] = []
        self.numbers: dict[int, int] = {}
        self.remotes: dict[int, Remote] = {}

    def encode(self, value: Any, keep: bool = True) -> Any:
        """The value as JSON has it.  Raises TypeError, unless ``keep``, for what would have to stay here."""
        return wire.encode(value, lambda thing: self._refer(thing, keep))

    def _refer(self, thing: Any, keep: bool) -> dict[str, Any]:
        if type(thing) is Remote:
            return {"yours": thing.__dict__["_number"]}
        for name, function in self.named.items():
            if thing is function or getattr(thing, "named", None) == name:
                return {"named": name}
        if not keep:
            kind = type(thing).__name__
            raise TypeError(f"a check cannot read an object of type {kind}; return numbers, texts, arrays or lists of them")
        if id(thing) not in self.numbers:
            self.numbers[id(thing)] = len(self.own)
            self.own.append(thing)  # kept, so that its id stays its own
        return {"mine": self.numbers[id(thing)]}

    def decode(self, data: Any) -> Any:
        """The value; raises wire.Unreadable for what is none."""
        return wire.decode(data, self._resolve)

    def _resolve(self, kind: str, key: Any) -> Any:
        if kind == "named" and key in self.named:
            return self.named[key]
        if kind == "yours" and isinstance(key, int) and 0 <= key < len(self.own):
            return self.own[key]
        if kind == "mine" and isinstance(key, int):
            return self.remotes.setdefault(key, Remote(self, key))
        raise wire.Unreadable(f"a reference {kind} {key!r}")

    def converse(self, message: Message) -> Message:
        """Send, and serve what the other side asks until it replies."""
        profile = sys.getprofile()
        sys.setprofile(None)  # a check that watches what an answer calls does not mean us
        try:
            reply = self.exchange(message)
            while "use" in reply:
                reply = self.exchange(self.served(reply))
            return reply
        finally:
            sys.setprofile(profile)

    def ask(self, question: Message) -> Any:
        """Use an object of the other side; what it raises is raised here."""
        reply = self.converse(question)
        if "raise" in reply:
            kind = getattr(builtins, str(reply["raise"][0]), None)
            raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError)(str(reply["raise"][1]))
        return self.decode(reply.get("value"))

    def served(self, question: Message) -> Message:
        """Do what the other side asks of an object that stayed here: call it, or read a public attribute of what is no function."""
        try:
            thing = self._resolve("yours", question["use"])
            if "args" in question:
                args = self.decode(question["args"])
                if not isinstance(args, tuple) or not (callable(thing) or "special" in question):
                    raise TypeError(f"a {type(thing).__name__} cannot be called")
                return {"value": self.encode(SPECIAL[question["special"]](thing, *args) if "special" in question else thing(*args))}
            name = str(question["attribute"])
            if callable(thing) or name.startswith("_"):
                raise AttributeError(f"no attribute {name!r} can be read while an answer is graded")
            return {"value": self.encode(getattr(thing, name))}
        except Exception as error:
            self.failed(error)
            return {"raise": [type(error).__name__, str(error)[:2000]]}

    def failed(self, error: Exception) -> None:
        """Called with what an object of ours raised; may raise it to end the conversation."""
