"""Which ledger row a stack belongs to, for stacks as real servers have them."""

from __future__ import annotations

import pytest

from pinchpoint.stack_stages import FRAMEWORKS, beside_model, frameworks, model_lines, place

UVICORN = ["std|runpy|198|_run_module_as_main", "std|asyncio/runners.py|190|run", "site|uvicorn/server.py|70|serve"]
FASTAPI = [*UVICORN, "site|starlette/routing.py|75|app", "site|fastapi/routing.py|190|run_endpoint_function"]
RUNTIME = "site|onnxruntime/capi/onnxruntime_inference_collection.py"
WORKER = ["std|threading.py|1002|_bootstrap", "std|concurrent/futures/thread.py|83|_worker"]


def own(name, line=10, file="app.py"):
    """A frame of the user's."""
    return f"own|{file}|{line}|{name}"


@pytest.mark.parametrize(("frames", "stage", "label"), [
    # a library says what is done, the user's own line where
    ([*FASTAPI, own("handle"), "std|json/__init__.py|346|loads", "std|json/decoder.py|337|decode"],
     "deserialize", "app.py:10 handle()"),
    ([*FASTAPI, own("handle"), "std|json/encoder.py|200|encode"], "serialize", "app.py:10 handle()"),
    ([*FASTAPI, own("handle"), "std|json/__init__.py|231|dumps"], "serialize", "app.py:10 handle()"),
    ([*FASTAPI, own("handle"), "std|base64.py|88|b64decode"], "deserialize", "app.py:10 handle()"),
    ([*FASTAPI, own("handle"), "std|lzma.py|343|decompress"], "deserialize", "app.py:10 handle()"),
    ([*FASTAPI, own("handle"), "std|gzip.py|580|compress"], "serialize", "app.py:10 handle()"),
    ([*FASTAPI, "site|starlette/middleware/gzip.py|90|send", "std|gzip.py|300|GzipFile.write"],
     "serialize", "gzip.py GzipFile.write()"),
    ([*FASTAPI, own("handle"), "std|xml/etree/ElementTree.py|1338|XML"], "deserialize", "app.py:10 handle()"),
    ([*WORKER, own("handle"), own("thumbnail", 20), "site|PIL/Image.py|2200|resize"],
     "preprocess", "app.py:20 thumbnail()"),
    ([*WORKER, own("handle"), "site|transformers/tokenization_utils.py|3|__call__"], "preprocess", "app.py:10 handle()"),
    ([*WORKER, own("handle"), "site|onnxruntime/capi/onnxruntime_inference_collection.py|220|run"],
     "model", "app.py:10 handle()"),
    ([*WORKER, own("handle"), "site|torch/nn/modules/module.py|1500|_call_impl",
      "site|torch/nn/modules/linear.py|114|forward"], "model", "app.py:10 handle()"),
    ([*WORKER, own("handle"), "site|sklearn/preprocessing/_data.py|9|transform"], "preprocess", "app.py:10 handle()"),
    ([*WORKER, own("handle"), "site|sklearn/ensemble/_forest.py|9|predict"], "model", "app.py:10 handle()"),
    # what opens a model, and all that is done meanwhile
    ([*WORKER, own("handle"), f"{RUNTIME}|485|InferenceSession.__init__", f"{RUNTIME}|560|_create_inference_session"],
     "model", "app.py:10 handle()"),
    ([*WORKER, own("handle"), "site|joblib/numpy_pickle.py|600|load", "std|pickle.py|1200|_Unpickler.load"],
     "model", "app.py:10 handle()"),
    # a library without anybody's own line around it names itself
    ([*FASTAPI, "site|starlette/requests.py|200|json", "std|json/decoder.py|337|decode"],
     "deserialize", "json/decoder.py decode()"),
    ([*FASTAPI, "site|starlette/responses.py|180|render"], "serialize", "starlette/responses.py render()"),
    ([*FASTAPI, "site|mlserver/rest/requests.py|31|Request.json"], "deserialize", "mlserver/rest/requests.py Request.json()"),  # orjson
    ([*WORKER, "std|multiprocessing/reduction.py|51|ForkingPickler.dumps"], "serialize", "multiprocessing/reduction.py ForkingPickler.dumps()"),
    ([*FASTAPI, "site|fastapi/encoders.py|180|jsonable_encoder"], "serialize", "fastapi/encoders.py jsonable_encoder()"),
    # request handling
    (UVICORN, "framework", ""),
    (FASTAPI, "framework", ""),
    (WORKER, "framework", ""),
    ([], "framework", ""),
    ([*FASTAPI, own("handle"), "site|unheard/of.py|3|go"], "framework", "app.py:10 handle()"),
    # the user's own names, the innermost first
    ([*FASTAPI, own("handle"), own("resize", 30)], "preprocess", "app.py:30 resize()"),
    ([*FASTAPI, own("handle"), own("preprocess_batch", 30)], "preprocess", "app.py:30 preprocess_batch()"),
    ([*FASTAPI, own("handle"), own("preprocess", 30), own("clip", 40)], "preprocess", "app.py:40 clip()"),
    ([*FASTAPI, own("handle"), own("postprocess", 30)], "postprocess", "app.py:30 postprocess()"),
    ([*FASTAPI, own("handle"), own("topk", 30)], "postprocess", "app.py:30 topk()"),
    ([*FASTAPI, own("handle"), own("runModel", 30)], "model", "app.py:30 runModel()"),
    ([*FASTAPI, own("preprocess"), own("forward", 30)], "model", "app.py:30 forward()"),
    ([*FASTAPI, own("LinearModel.margin"), own("Table.counts", 30)], "framework", "app.py:30 Table.counts()"),
    ([*FASTAPI, own("handle"), own("LogMel.__call__", 30)], "preprocess", "app.py:30 LogMel.__call__()"),
    ([*FASTAPI, own("postprocess"), "std|json/encoder.py|200|encode"], "serialize", "app.py:10 postprocess()"),
    # every handler is called so
    ([*FASTAPI, own("infer")], "framework", "app.py:10 infer()"),
    ([*FASTAPI, own("classify_image")], "framework", "app.py:10 classify_image()"),
    # what starts the server is no line of a request
    (["own|uvicorn|8|<module>", *FASTAPI], "framework", ""),
    # what the standard library does between the user's code and itself says nothing
    ([*FASTAPI, own("resize"), "std|contextlib.py|9|__exit__"], "preprocess", "app.py:10 resize()"),
    ([*FASTAPI, own("predict")], "framework", "app.py:10 predict()"),
    ([*FASTAPI, own("get")], "framework", "app.py:10 get()"),
    ([*FASTAPI, own("do_GET")], "framework", "app.py:10 do_GET()"),
    ([*FASTAPI, own("put")], "framework", "app.py:10 put()"),
    ([*FASTAPI, own("spin")], "framework", "app.py:10 spin()"),
    ([*FASTAPI, own("imposter")], "framework", "app.py:10 imposter()"),  # whole words only
    # what a framework does for a handler is the framework's, whatever called it
    ([own("preprocess"), "site|uvicorn/server.py|70|serve"], "framework", "app.py:10 preprocess()"),
])  # fmt: skip
def test_where_a_stack_belongs(frames, stage, label):
    found = place(frames)
    assert (found.stage, found.label) == (stage, label)


@pytest.mark.parametrize("name", ["post", "do_POST", "post_predict"])
@pytest.mark.parametrize("above", [FASTAPI, ["std|socketserver.py|1|process_request", "std|http/server.py|9|handle"]])
def test_a_handler_named_by_its_http_method_is_no_postprocessing(above, name):
    assert place([*above, own(name)]).stage == "framework"


@pytest.mark.parametrize(("frames", "extra", "stage"), [
    ([*FASTAPI, own("handle"), "site|mylib/tokens/fast.py|3|go"], {"mylib/tokens": "preprocess"}, "preprocess"),
    ([*FASTAPI, own("handle"), "site|torch/nn/functional.py|3|pad"], {"torch/nn/functional": "preprocess"}, "preprocess"),
    ([*FASTAPI, own("resize", file="codec.py")], {"codec.py": "serialize"}, "serialize"),
    ([*FASTAPI, "site|uvicorn/protocols/http.py|3|go"], {"uvicorn/protocols": "queue"}, "queue"),
    ([*FASTAPI, own("handle"), "site|mylib/other.py|3|go"], {"mylib/tokens": "preprocess"}, "framework"),
    ([*FASTAPI, own("handle"), "site|mylib/glue.py|3|go", "site|PIL/Image.py|3|go"], {"mylib/": "model"}, "preprocess"),
])  # fmt: skip
def test_what_the_user_says_of_a_library_comes_first(frames, extra, stage):
    assert place(frames, extra).stage == stage


@pytest.mark.parametrize(("stacks", "names"), [
    ([], ()),
    ([WORKER, UVICORN], ()),
    ([FASTAPI], ("FastAPI", "Starlette")),
    ([WORKER, ["site|flask/app.py|3|wsgi_app"]], ("Flask",)),
    ([FASTAPI, ["site|mlserver/rest/app.py|3|go"]], ("MLServer", "FastAPI", "Starlette")),
    ([["std|http/server.py|3|handle"]], ("http.server",)),
    ([["site|tst/ts/handler.py|3|go"]], ()),
])  # fmt: skip
def test_what_an_application_is_written_in(stacks, names):
    assert frameworks(stacks) == names
    assert set(names) <= set(FRAMEWORKS.values())


@pytest.mark.parametrize(("frames", "opens"), [
    ([*WORKER, own("handle"), f"{RUNTIME}|485|InferenceSession.__init__"], True),
    ([*WORKER, own("handle"), f"{RUNTIME}|220|Session.run"], False),
    ([*WORKER, own("handle"), "site|transformers/models/auto/auto_factory.py|500|_BaseAutoModelClass.from_pretrained"], True),
    ([*WORKER, own("handle"), "site|transformers/models/bert/modeling_bert.py|500|BertModel.forward"], False),
    ([*WORKER, own("handle"), own("load_model")], True),
    ([*WORKER, own("handle"), own("Registry.load_resnet_model"), "std|pickle.py|1200|_Unpickler.load"], True),
    ([*WORKER, own("handle"), own("load_model_input")], False),
    ([*WORKER, own("load_image")], False),
    ([own("build_model"), *FASTAPI, own("handle")], False),  # what started the server
])  # fmt: skip
def test_what_makes_a_model_ready_to_run(frames, opens):
    assert place(frames).opens == opens


RUN = f"{RUNTIME}|220|Session.run"
MODEL_AT_30 = model_lines([[*WORKER, own("handle", 12), own("spot", 30, "lib.py"), RUN]], {})


@pytest.mark.parametrize(("frames", "stage"), [
    ([*WORKER, own("handle", 12), own("spot", 29, "lib.py"), own("describe"), "site|numpy/fft/_pocketfft.py|9|rfft"], "preprocess"),
    ([*WORKER, own("handle", 12), own("spot", 31, "lib.py")], "postprocess"),
    ([*WORKER, own("handle", 11), own("describe", 29)], "preprocess"),       # of the function that calls the one with the model
    ([*WORKER, own("handle", 12), own("spot", 30, "lib.py")], None),         # at the model's own line
    ([*WORKER, own("describe", 29)], None),                                  # no function calls both
    ([*WORKER, own("handle", 12), own("spot", 29, "lib.py"), "std|logging/__init__.py|1|info"], None),  # a framework's work
])  # fmt: skip
def test_own_code_by_its_place_around_the_model(frames, stage):
    assert beside_model(frames, MODEL_AT_30) == stage


def test_where_a_model_runs_several_times_only_what_is_before_or_after_all_of_them_is_told():
    lines = model_lines([[own("spot", line), RUN] for line in (20, 30)], {})
    assert [beside_model([own("spot", line)], lines) for line in (19, 25, 31)] == ["preprocess", None, "postprocess"]
    assert model_lines([[own("spot", 9), f"{RUNTIME}|485|InferenceSession.__init__"]], {}) == {}


@pytest.mark.parametrize("line", ["", "x", "9" * 5000])
def test_a_line_that_is_no_number_is_before_all_others(line):
    frames = [f"own|app.py|{line}|spot", RUN]
    assert model_lines([frames], {}) == {("app.py", "spot"): (0, 0)}
    assert beside_model(frames[:1], {("app.py", "spot"): (1, 1)}) == "preprocess"
