"""The URL of an OpenAI-compatible server -> requests for text that comes as a stream.

Prompts differ from each other from their first word on, since servers keep what they computed for a prompt that begins alike.
"""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from pinchpoint.driving import LoadOptions, understood
from pinchpoint.errors import BadInput
from pinchpoint.load.fetching import fetched, first_fetched
from pinchpoint.load.sending import Sending
from pinchpoint.self_description import Described

SCHEMES = {"openai+http": "http", "openai+https": "https"}
PROTOCOL = "OpenAI-compatible API"
CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"
FILE = "prompt-{:02}.json"
PROMPTS, WORDS, TOKENS = 32, 48, 32  # requests that differ, words of a prompt, tokens asked for
MOST_SHOWN = 8
VOCABULARY = """
a about after all an and are as at be because been but by can could day did do each even every few find first
for from get give good had has have he her here his how if in into is it its just know like long look made
make many may more most much must my never new no not now of off on one only or other our out over own people
see she so some such take than that the their them then there these they thing this time to two under up use
very want was way we well were what when where which who will with work would year you your
"""


def is_generation(url: str) -> bool:
    """Whether a URL names an OpenAI-compatible server."""
    return url.partition("://")[0] in SCHEMES


def described(options: LoadOptions, folder: Path, seed: int) -> Described:
    """The options with path, method and requests for a model that the server lists; these are written into `folder`.

    A server that lists none (transformers, of a model in a folder) is asked for the one that the URL names, or for whichever it
    has. BadInput where it has none then, where several are listed and none is named, or where the named one is not among them.
    """
    scheme, _, rest = options.url.partition("://")
    options = replace(options, url=f"{SCHEMES[scheme]}://{rest}", method=options.method or "POST")
    sending = understood(options)[1]
    path = urlsplit(options.url).path.rstrip("/")
    given = path if path in (CHAT, PLAIN) else ""
    if options.input:
        return Described(_to(options, given or PLAIN), PROTOCOL)
    model = _model(sending, "" if given else path.removeprefix("/v1").removeprefix("/models").removeprefix("/"))
    where = given or (CHAT if _answered(sending, model, CHAT) else PLAIN)
    told = model or _only(sending, where)
    chance = random.Random(seed)  # noqa: S311  # words, not secrets
    files = []
    for number in range(PROMPTS):
        files.append(str(folder / FILE.format(number)))
        body = _asking(model, where, " ".join(chance.choices(VOCABULARY.split(), k=WORDS)))
        Path(files[-1]).write_text(json.dumps(body), "utf-8")
    return Described(_to(replace(options, input=tuple(files)), where), PROTOCOL, told)


def _to(options: LoadOptions, path: str) -> LoadOptions:
    return replace(options, url=urlsplit(options.url)._replace(path=path).geturl())


def _model(sending: Sending, named: str) -> str:
    """The model that is asked, of those that are listed; empty where none is listed and none named."""
    told = first_fetched(sending, "/v1/models")
    listed = told.get("data") if isinstance(told, dict) else None
    models = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    names = [each["id"] for each in models if isinstance(each.get("id"), str)]
    shown = ", ".join(names[:MOST_SHOWN]) + (f" and {len(names) - MOST_SHOWN} more" if len(names) > MOST_SHOWN else "")
    where = sending.address.uri
    if not names:
        return named
    if named and named not in names:
        raise BadInput(what=f"model {named!r} is not served here", where=where, todo=f"Served are {shown}")
    if not named and len(names) > 1:
        raise BadInput(what=f"it serves {len(names)} models", where=where, todo=f"Add one to the URL: {shown}")
    return named or names[0]


def _only(sending: Sending, path: str) -> str:
    """What a server calls the one model that it has and does not list; BadInput where it answers no request without a name."""
    found = _answered(sending, "", path)
    if not found:
        todo = "Add its model to the URL, or give the whole URL (…/v1/completions) with --input"
        raise BadInput(what="it lists no models at /v1/models", where=sending.address.uri, todo=todo)
    return str(found.get("model") or "")


def _answered(sending: Sending, model: str, path: str) -> dict[str, object]:
    """What the model answers to a word; empty where that is no answer."""
    asked = {**_asking(model, path, "hello"), "max_tokens": 1, "stream": False}
    del asked["stream_options"]
    found = fetched(sending, path, "POST", json.dumps(asked).encode())
    return found if isinstance(found, dict) and found.get("choices") else {}


def _asking(model: str, path: str, prompt: str) -> dict[str, object]:
    """A request for tokens as a stream, with a count of them at its end; of whichever model where none is named."""
    asked: dict[str, object] = (
        {"messages": [{"role": "user", "content": prompt}]} if path == CHAT else {"prompt": prompt}
    )
    return {**({"model": model} if model else {}), **asked, "max_tokens": TOKENS, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}}  # fmt: skip
