"""Remedies: what to do about a finding, as changes to the tables."""

from pinchpoint.remedies.avoid_call import avoid_call
from pinchpoint.remedies.batch_requests import batch_requests
from pinchpoint.remedies.batch_under_load import batch_under_load
from pinchpoint.remedies.cache_rows import cache_rows
from pinchpoint.remedies.fewer_threads import FEWER_THREADS, FIT_THREADS
from pinchpoint.remedies.fixed_shapes import fixed_shapes
from pinchpoint.remedies.float_twin import float_twin
from pinchpoint.remedies.flush_denormals import flush_denormals
from pinchpoint.remedies.freeze_collector import freeze_collector
from pinchpoint.remedies.fuse_operators import fuse_operators
from pinchpoint.remedies.int8_weights import int8_weights
from pinchpoint.remedies.lower_precision import lower_precision
from pinchpoint.remedies.more_processes import more_processes
from pinchpoint.remedies.more_threads import more_threads
from pinchpoint.remedies.more_workers import more_workers
from pinchpoint.remedies.off_the_loop import off_the_loop
from pinchpoint.remedies.on_the_way import ON_THE_WAY
from pinchpoint.remedies.optimise_graph import optimise_graph
from pinchpoint.remedies.removals import REMOVALS
from pinchpoint.remedies.replace_operator import replace_operator
from pinchpoint.remedies.shorter_window import shorter_window
from pinchpoint.remedies.size_aware_queue import size_aware_queue
from pinchpoint.remedies.split_lock import split_lock
from pinchpoint.remedies.spread_requests import spread_requests
from pinchpoint.remedies.starts import STARTS
from pinchpoint.remedies.stop_spinning import stop_spinning

BUILTIN = (
    more_threads,
    more_processes,
    more_workers,
    off_the_loop,
    freeze_collector,
    split_lock,
    spread_requests,
    size_aware_queue,
    stop_spinning,
    fixed_shapes,
    flush_denormals,
    float_twin,
    FEWER_THREADS,
    FIT_THREADS,
    batch_requests,
    batch_under_load,
    int8_weights,
    lower_precision,
    optimise_graph,
    fuse_operators,
    replace_operator,
    cache_rows,
    avoid_call,
    shorter_window,
    *ON_THE_WAY,
    *REMOVALS,
    *STARTS,
)
