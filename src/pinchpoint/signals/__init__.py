"""Signals: small functions of a run and its tables, each with a name, a unit and a mechanism."""

from pinchpoint.signals.blocked import BLOCKED_SIGNALS
from pinchpoint.signals.capacity import CAPACITY_SIGNALS
from pinchpoint.signals.client import CLIENT_SIGNALS
from pinchpoint.signals.clock import CLOCK_SIGNALS
from pinchpoint.signals.copies import COPY_SIGNALS
from pinchpoint.signals.denormals import DENORMAL_SIGNALS
from pinchpoint.signals.growth import GROWTH_SIGNALS
from pinchpoint.signals.idle import IDLE_SIGNALS
from pinchpoint.signals.instruments import INSTRUMENT_SIGNALS
from pinchpoint.signals.measurement import MEASUREMENT_SIGNALS
from pinchpoint.signals.model import MODEL_SIGNALS
from pinchpoint.signals.network import NETWORK_SIGNALS
from pinchpoint.signals.processor import PROCESSOR_SIGNALS
from pinchpoint.signals.quantised import QUANTISED_SIGNALS
from pinchpoint.signals.stages import STAGE_SIGNALS
from pinchpoint.signals.startup import STARTUP_SIGNALS
from pinchpoint.signals.storage import STORAGE_SIGNALS
from pinchpoint.signals.tail import TAIL_SIGNALS

BUILTIN = (
    *STAGE_SIGNALS,
    *BLOCKED_SIGNALS,
    *MODEL_SIGNALS,
    *PROCESSOR_SIGNALS,
    *STORAGE_SIGNALS,
    *CAPACITY_SIGNALS,
    *TAIL_SIGNALS,
    *STARTUP_SIGNALS,
    *IDLE_SIGNALS,
    *CLOCK_SIGNALS,
    *QUANTISED_SIGNALS,
    *INSTRUMENT_SIGNALS,
    *DENORMAL_SIGNALS,
    *COPY_SIGNALS,
    *GROWTH_SIGNALS,
    *MEASUREMENT_SIGNALS,
    *CLIENT_SIGNALS,
    *NETWORK_SIGNALS,
)
