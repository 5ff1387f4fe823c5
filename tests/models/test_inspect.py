from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from batches import KEY, depot
from habitus.errors import CallExhausted, CallRefused, ModelUnusable, UserError
from habitus.models import AnswerSchema, Message, Params, Usage
from habitus.models import inspect as inspection
from habitus.models.inspect import InspectModel
from habitus.settings import BatchSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

try:
    import inspect_ai.model as inspect_model
except ImportError:
    inspect_model = None
try:
    import openai
except ImportError:
    openai = None

# Inspect calls tenacity by a name that it is giving up
pytestmark = pytest.mark.filterwarnings("ignore:The 'initial' parameter is deprecated:DeprecationWarning")
needs_inspect = pytest.mark.skipif(inspect_model is None, reason="inspect_ai is not installed: habitus[inspect]")
needs_client = pytest.mark.skipif(None in (inspect_model, openai), reason="needs inspect_ai and the openai client")

CHAT: list[Message] = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "May I lie to spare her?"},
    {"role": "assistant", "content": "Tell me more."},
    {"role": "user", "content": "It is about the cake."},
]
SHAPE = AnswerSchema(
    "Verdict",
    {
        "type": "object",
        "properties": {"score": {"type": "integer", "description": "1 to 5"}},
        "required": ["score"],
        "additionalProperties": False,
    },
)


def opened(model: str, *, try_timeout: float = 20, total_timeout: float = 30) -> InspectModel:
    return InspectModel(model, model=model, concurrency=8, try_timeout=try_timeout, total_timeout=total_timeout)


def mocked(answer: Callable[..., Any]) -> InspectModel:
    """Open the mock model with answers of our own, which count their tokens so that no tokenizer is fetched."""
    model = opened("mockllm/model")
    model._served = inspect_model.get_model("mockllm/model", custom_outputs=answer, memoize=False)
    return model


def output(text: str, stop_reason: str = "stop", **usage: int) -> Any:
    made = inspect_model.ModelOutput.from_content("mock-1", text, stop_reason=stop_reason)
    made.usage = inspect_model.ModelUsage(**usage)
    return made


# without Inspect


def test_without_inspect_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    monkeypatch.setitem(sys.modules, "inspect_ai.model", None)
    monkeypatch.setitem(sys.modules, "inspect_ai._util.error", None)
    with pytest.raises(UserError, match=r"anthropic/claude.*not installed") as caught:
        opened("anthropic/claude-sonnet-4-5")
    assert 'pip install "habitus[inspect]"' in str(caught.value)


def test_a_misspelt_provider_is_not_mistaken_for_one_of_inspects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "inspect_ai._util.error", None)
    with pytest.raises(UserError, match="Did you mean 'openai'"):
        opened("opnai/gpt-5-mini")


# with the mock model


@needs_inspect
async def test_the_conversation_and_the_settings_reach_the_model() -> None:
    seen: list[Any] = []

    def answer(messages: Any, _tools: Any, _choice: Any, config: Any) -> Any:
        seen.append((messages, config))
        return output("Be kind, and true.", input_tokens=30, output_tokens=6, input_tokens_cache_read=12)

    model = mocked(answer)
    settings = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 99, "stop": "END", "seed": 7, "top_k": 5}
    completion = await model.complete(CHAT, Params(settings, schema=SHAPE, sample=2))
    await model.close()
    messages, config = seen[0]
    assert [{"role": message.role, "content": message.content} for message in messages] == CHAT
    assert (config.temperature, config.top_p, config.max_tokens) == (0.5, 0.9, 99)
    assert (config.stop_seqs, config.seed, config.top_k) == (["END"], 9, 5)
    assert (config.max_connections, config.attempt_timeout, config.timeout) == (8, 20, 30)
    assert config.max_retries is not None
    assert config.response_schema is None
    assert (completion.text, completion.finish, completion.model) == ("Be kind, and true.", "stop", "mock-1")
    assert completion.usage == Usage(42, 6, 12)
    assert completion.latency >= 0


@needs_inspect
@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("max_tokens", "length"), ("model_length", "length"), ("content_filter", "content_filter")],
)
async def test_reasons_to_stop_are_named_as_endpoints_name_them(reason: str, finish: str) -> None:
    model = mocked(lambda *_: output("Be", reason, input_tokens=1, output_tokens=1))
    assert (await model.complete(CHAT, Params())).finish == finish


@needs_inspect
async def test_the_same_request_is_asked_anew_each_time() -> None:
    texts = iter(["first", "second"])
    model = mocked(lambda *_: output(next(texts), input_tokens=1, output_tokens=1))
    assert [(await model.complete(CHAT, Params())).text for _ in range(2)] == ["first", "second"]


@needs_inspect
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temprature": 1}, "takes no setting 'temprature'. Did you mean 'temperature'?"),
        ({"max_retries": 3}, "takes no setting 'max_retries'."),
        ({"temperature": "hot"}, "temperature: Input should be a valid number"),
    ],
)
async def test_a_setting_that_inspect_does_not_have_is_a_users_mistake(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        await mocked(lambda *_: output("never")).complete(CHAT, Params(settings))
    assert said in str(caught.value)


@needs_inspect
async def test_an_error_without_a_status_fails_the_call_by_its_name() -> None:
    def broken(*_: Any) -> Any:
        raise ConnectionResetError("the line went dead")

    with pytest.raises(CallExhausted, match="ConnectionResetError: the line went dead"):
        await mocked(broken).complete(CHAT, Params())


@needs_inspect
async def test_a_call_ends_when_its_time_is_up() -> None:
    async def stuck(*_: Any) -> Any:
        await asyncio.Event().wait()

    model = mocked(stuck)
    model._total_timeout = 0.05
    with pytest.raises(CallExhausted, match=r"no answer within 0\.05 s"):
        await model.complete(CHAT, Params())


@needs_inspect
async def test_a_cancelled_call_is_cancelled_at_the_provider_too() -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def stuck(*_: Any) -> Any:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    call = asyncio.create_task(mocked(stuck).complete(CHAT, Params()))
    await began.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended.is_set()


@needs_inspect
async def test_no_transcript_is_kept_of_calls_that_are_over() -> None:
    from inspect_ai.log import _transcript as log

    await mocked(lambda *_: output("Be kind.", input_tokens=1, output_tokens=1)).complete(CHAT, Params())
    assert log._transcript.get() is None


@needs_inspect
def test_a_provider_that_nobody_knows_is_a_users_mistake() -> None:
    with pytest.raises(UserError, match=r"not recognized\. Did you mean 'together'\?"):
        opened("togther/qwen")


@needs_client
def test_a_missing_key_makes_the_model_unusable_by_the_keys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAPE_API_KEY", raising=False)
    with pytest.raises(ModelUnusable, match="GRAPE_API_KEY"):
        opened("openai-api/grape/vine-1")


# with an endpoint on this machine


class Endpoint:
    """An OpenAI-compatible server that answers each request with the next of the given statuses, then with 200."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.bodies: list[dict[str, Any]] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            error = {"message": f"We say {status}.", "type": "x"}
            # the tries are Inspect's, not those of the client library beneath it
            return web.json_response({"error": error}, status=status, headers={"x-should-retry": "false"})
        choice = {"index": 0, "message": {"role": "assistant", "content": '{"score": 4}'}, "finish_reason": "stop"}
        details = {"cached_tokens": 8}
        usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25, "prompt_tokens_details": details}
        body = {"id": "c1", "object": "chat.completion", "created": 1, "model": "vine-1-2026", "choices": [choice]}
        return web.json_response({**body, "usage": usage})


@pytest.fixture
async def endpoint(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Endpoint]:
    served = Endpoint()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", served.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    for provider in ("GRAPE", "OPENAI"):
        monkeypatch.setenv(f"{provider}_API_KEY", "sk-test")
        monkeypatch.setenv(f"{provider}_BASE_URL", f"http://{host}:{port}/v1")
    yield served
    await runner.cleanup()


@needs_client
async def test_an_answer_comes_over_the_wire_with_its_tokens(endpoint: Endpoint) -> None:
    model = opened("openai-api/grape/vine-1")
    completion = await model.complete(CHAT, Params({"temperature": 0.5, "stop": ["END"]}))
    await model.close()
    assert (completion.text, completion.finish, completion.model) == ('{"score": 4}', "stop", "vine-1-2026")
    assert completion.usage == Usage(20, 5, 8)
    body = endpoint.bodies[0]
    assert [message["content"] for message in body["messages"]] == [message["content"] for message in CHAT]
    assert (body["model"], body["temperature"], body["stop"]) == ("vine-1", 0.5, ["END"])


@needs_client
async def test_a_provider_that_takes_schemas_is_given_one(endpoint: Endpoint) -> None:
    model = opened("openai/gpt-4o-mini")
    await model.complete(CHAT, Params(schema=SHAPE))
    await model.close()
    sent = endpoint.bodies[0]["response_format"]["json_schema"]
    assert sent["name"] == "Verdict"
    assert sent["schema"] == SHAPE.schema


@needs_client
@pytest.mark.parametrize(
    ("status", "failure"),
    [(401, ModelUnusable), (403, ModelUnusable), (404, ModelUnusable), (400, CallRefused), (422, CallRefused)],
)
async def test_a_status_says_whether_the_model_or_the_call_is_hopeless(
    endpoint: Endpoint, status: int, failure: type[Exception]
) -> None:
    endpoint.statuses = [status]
    model = opened("openai-api/grape/vine-1")
    with pytest.raises(failure, match=f"HTTP {status}: .*We say {status}"):
        await model.complete(CHAT, Params())
    await model.close()
    assert len(endpoint.bodies) == 1


@needs_client
async def test_an_overloaded_provider_is_asked_again_and_in_the_end_given_up_without_a_word_on_the_screen(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("inspect_ai.model._retry._sleep", lambda _seconds: asyncio.sleep(0))
    monkeypatch.setattr("habitus.models.inspect.RETRIES", 1)
    model = opened("openai-api/grape/vine-1")
    endpoint.statuses = [429]
    assert (await model.complete(CHAT, Params())).text == '{"score": 4}'
    endpoint.statuses = [503] * 1000
    with pytest.raises(CallExhausted, match=r"no answer after 2 tries; the last: .*We say 503"):
        await model.complete(CHAT, Params())
    await model.close()
    assert capfd.readouterr() == ("", "")


# in jobs


def test_a_provider_without_a_batch_mode_in_inspect_is_told() -> None:
    with pytest.raises(UserError, match="no batch mode for it, but for: anthropic, google"):
        InspectModel("bedrock/nova", "bedrock/nova", 8, 20, 30, batch=BatchSettings())


@needs_client
async def test_in_jobs_inspect_collects_calls_and_no_clock_of_ours_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    model = InspectModel("inspect/openai/gpt-5-mini", "openai/gpt-5-mini", 8, 20, 30, batch=BatchSettings(poll=45))
    live = InspectModel("inspect/openai/gpt-5-mini", "openai/gpt-5-mini", 8, 20, 30)
    config = model._config(Params())
    assert config.batch.tick == 45
    assert config.batch.size > 1_000
    assert (config.timeout, config.attempt_timeout) == (None, None)
    assert live._config(Params()).batch is None
    await model.close()
    await live.close()


@needs_client
async def test_calls_through_inspect_go_in_one_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from inspect_ai.util._concurrency import init_concurrency

    init_concurrency()  # it has one limit for live calls and jobs, which the tests before have set
    monkeypatch.setattr(inspection, "BATCH_DELAY", 0.1)
    async with depot(answer=lambda text: f"<{text}>") as station:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", station.url)
        name = "openai/gpt-4o-mini"
        model = InspectModel(f"inspect/{name}", name, 8, 20, 30, batch=BatchSettings(poll=0.1))
        asked: list[list[Message]] = [[{"role": "user", "content": f"q{number}"}] for number in range(30)]
        found = await asyncio.gather(*(model.complete(one, Params()) for one in asked))
        await model.close()
    assert [one.text for one in found] == [f"<q{number}>" for number in range(30)]
    assert (station.sizes, station.live) == ([30], 0)
    assert capsys.readouterr().out == ""
