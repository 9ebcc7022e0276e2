"""What Home Assistant is told so that a camera appears there by itself (its MQTT discovery format)."""

from __future__ import annotations

from typing import Any

from edgecv_runtime._version import __version__
from edgecv_runtime.results import Classification, Detections, Segmentation
from edgecv_runtime.sinks.common import safe_name

Announcement = tuple[str, dict[str, Any]]


def announcements(prefix: str, topic: str, camera: str, title: str, result: Any) -> list[Announcement]:
    """Discovery messages of one camera: what it sees, and how old that was.

    Parameters
    ----------
    prefix : str
        Home Assistant's discovery prefix.
    topic : str
        Of the sink.
    camera, title : str
        Its name in topics, and for people.
    result : Classification, Detections, ...
        The first one: it says what the model answers.

    Returns
    -------
    list of (topic, payload)
        To be published retained.
    """
    node = safe_name(topic.replace("/", "_"))
    common: dict[str, Any] = {
        "state_topic": f"{topic}/{camera}/result",
        "availability_topic": f"{topic}/status",
        "device": {
            "identifiers": [f"edgecv_{node}"],
            "name": f"edgecv {topic}",
            "manufacturer": "edgecv",
            "sw_version": __version__,
        },
    }
    what, template, extra = _seen(result)
    seen = (
        common
        | extra
        | {
            "name": f"{title} {what}",
            "unique_id": f"edgecv_{node}_{camera}_seen",
            "value_template": template,
            "json_attributes_topic": f"{topic}/{camera}/result",
            "json_attributes_template": "{{ {'labels': value_json.result.labels | default([]), "
            "'scores': value_json.result.scores | default([])} | tojson }}",
        }
    )
    age = common | {
        "name": f"{title} result age",
        "unique_id": f"edgecv_{node}_{camera}_age",
        "value_template": "{{ value_json.age_ms | round(0) }}",
        "unit_of_measurement": "ms",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    }
    return [
        (f"{prefix}/sensor/edgecv_{node}/{camera}_seen/config", seen),
        (f"{prefix}/sensor/edgecv_{node}/{camera}_age/config", age),
    ]


def _seen(result: Any) -> tuple[str, str, dict[str, Any]]:
    """What a camera's sensor is called, the template of its value, and what else it needs."""
    result = getattr(result, "detections", result)
    if isinstance(result, Detections):
        counted = {"state_class": "measurement", "unit_of_measurement": "objects"}
        return "objects", "{{ value_json.result.scores | count }}", counted
    if isinstance(result, Classification):
        return "class", "{{ value_json.result.labels[0] }}", {}
    if isinstance(result, Segmentation):
        return "largest class", "{{ value_json.result.classes[0].label | default('nothing') }}", {}
    return "frame", "{{ value_json.index }}", {}
