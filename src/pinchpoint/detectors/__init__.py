"""Detectors: one cause each, from signals to evidence; the docstrings are what `pinchpoint explain CODE` prints."""

from pinchpoint.contracts import Detector
from pinchpoint.detectors.activations_streamed import activations_streamed
from pinchpoint.detectors.allocation_churn import allocation_churn
from pinchpoint.detectors.batching_window import batching_window
from pinchpoint.detectors.client_the_limit import client_the_limit
from pinchpoint.detectors.clock_lowered import clock_lowered
from pinchpoint.detectors.codec_heavy import codec_heavy
from pinchpoint.detectors.compute_bound import compute_bound
from pinchpoint.detectors.contradiction import contradiction
from pinchpoint.detectors.cpu_taken_by_others import cpu_taken_by_others
from pinchpoint.detectors.denormal_floats import denormal_floats
from pinchpoint.detectors.disk_reads import disk_reads
from pinchpoint.detectors.dispatch_overhead import dispatch_overhead
from pinchpoint.detectors.downstream_call import downstream_call
from pinchpoint.detectors.event_loop_blocked import event_loop_blocked
from pinchpoint.detectors.failed_requests import failed_requests
from pinchpoint.detectors.garbage_collection import garbage_collection
from pinchpoint.detectors.gil_contention import gil_contention
from pinchpoint.detectors.graph_not_optimised import graph_not_optimised
from pinchpoint.detectors.head_of_line import head_of_line
from pinchpoint.detectors.idle_spinning import idle_spinning
from pinchpoint.detectors.large_inputs_copied import large_inputs_copied
from pinchpoint.detectors.load_imbalance import load_imbalance
from pinchpoint.detectors.lock_wait import lock_wait
from pinchpoint.detectors.memory_growth import memory_growth
from pinchpoint.detectors.model_reopened import model_reopened
from pinchpoint.detectors.network_bandwidth import network_bandwidth
from pinchpoint.detectors.network_round_trips import network_round_trips
from pinchpoint.detectors.new_shapes import new_shapes
from pinchpoint.detectors.no_batching import no_batching
from pinchpoint.detectors.not_stationary import not_stationary
from pinchpoint.detectors.out_of_memory import out_of_memory
from pinchpoint.detectors.postprocessing_heavy import postprocessing_heavy
from pinchpoint.detectors.preprocessing_heavy import preprocessing_heavy
from pinchpoint.detectors.quota_throttling import quota_throttling
from pinchpoint.detectors.random_access import random_access
from pinchpoint.detectors.slow_int8 import slow_int8
from pinchpoint.detectors.slow_load import slow_load
from pinchpoint.detectors.slow_operator import slow_operator
from pinchpoint.detectors.synchronous_writes import synchronous_writes
from pinchpoint.detectors.thread_oversubscription import thread_oversubscription
from pinchpoint.detectors.timer_wait import timer_wait
from pinchpoint.detectors.too_few_samples import too_few_samples
from pinchpoint.detectors.too_few_threads import too_few_threads
from pinchpoint.detectors.too_few_workers import too_few_workers
from pinchpoint.detectors.weights_streamed import weights_streamed

BUILTIN: tuple[Detector, ...] = (
    compute_bound,
    preprocessing_heavy,
    postprocessing_heavy,
    codec_heavy,
    dispatch_overhead,
    thread_oversubscription,
    too_few_threads,
    quota_throttling,
    cpu_taken_by_others,
    idle_spinning,
    denormal_floats,
    graph_not_optimised,
    no_batching,
    slow_operator,
    slow_int8,
    clock_lowered,
    model_reopened,
    disk_reads,
    slow_load,
    network_round_trips,
    network_bandwidth,
    downstream_call,
    synchronous_writes,
    weights_streamed,
    activations_streamed,
    out_of_memory,
    allocation_churn,
    memory_growth,
    large_inputs_copied,
    random_access,
    client_the_limit,
    not_stationary,
    contradiction,
    too_few_samples,
    failed_requests,
    gil_contention,
    too_few_workers,
    batching_window,
    lock_wait,
    event_loop_blocked,
    load_imbalance,
    head_of_line,
    new_shapes,
    garbage_collection,
    timer_wait,
)
