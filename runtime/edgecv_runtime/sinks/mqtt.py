"""Results to an MQTT broker: bounded while there is none, complete once it is back."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from edgecv_runtime._require import require
from edgecv_runtime.pipeline.outcome import Outcome
from edgecv_runtime.plain_json import json_text
from edgecv_runtime.sinks.common import light, safe_name
from edgecv_runtime.sinks.homeassistant import announcements
from edgecv_runtime.sinks.mqtt_address import MqttAddress

log = logging.getLogger("edgecv_runtime.sinks")
log.addHandler(logging.NullHandler())

_UNDER_WAY = 16  # messages that the broker has not confirmed
_LARGEST = 256 << 10  # bytes: brokers refuse or choke on what is larger
_RECONNECT = (1, 30)  # seconds between attempts: the first, and the cap


@dataclass(frozen=True)
class _Message:
    topic: str
    payload: bytes
    retain: bool = False


class MqttSink:
    """Publish each outcome as JSON to ``TOPIC/CAMERA/result``.

    ``TOPIC/status`` says ``online``, and ``offline`` (the last will) as soon as the broker misses us. Messages wait in
    a queue of ours, not in the library's: it refuses the newest when it is full, and we forget the oldest.

    Parameters
    ----------
    uri : str
        As `MqttAddress.parse` takes it: ``mqtt://user@broker/house/door?discovery=homeassistant``. Credentials in it
        appear in no log, `repr` or error.
    patience : float
        Seconds that `close` waits for the broker to take what is left.

    Attributes
    ----------
    sent, dropped : int
        Messages confirmed by the broker, those of state included; outcomes that were forgotten, or too large.
    connected : bool

    Raises
    ------
    InputError
        It is no such address.
    MissingPackageError
        paho-mqtt is not installed.
    """

    def __init__(self, uri: str, *, patience: float = 0.8) -> None:
        address = MqttAddress.parse(uri)
        mqtt = require("paho.mqtt.client", install="edgecv-runtime[mqtt]", purpose="publishing to an MQTT broker")
        self.address, self._patience = address, patience
        self.sent = self.dropped = 0
        self.connected = False
        self._waiting: deque[_Message] = deque()
        self._announced: set[str] = set()
        self._retained: list[_Message] = []
        self._due: dict[str, float] = {}
        self._under_way = 0
        self._change = threading.Condition()
        self._closed = False
        self._client = self._make_client(mqtt)
        self._client.connect_async(address.host, address.port, keepalive=30)
        self._client.loop_start()
        self._sender = threading.Thread(target=self._send, name="edgecv mqtt sender", daemon=True)
        self._sender.start()

    def _make_client(self, mqtt: Any) -> Any:
        address = self.address
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=address.client)
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        if address.tls:
            client.tls_set()
        client.will_set(f"{address.topic}/status", "offline", qos=1, retain=True)
        client.reconnect_delay_set(*_RECONNECT)
        client.max_inflight_messages_set(_UNDER_WAY)
        client.connect_timeout = 3.0
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        return client

    # -- the pipeline's thread -------------------------------------------------------------------------------------

    def write(self, outcome: Outcome) -> None:
        """Queue one outcome; it never waits for the network."""
        camera = safe_name(outcome.camera)
        if not self._is_due(camera, outcome.frame.captured):
            return
        if self.address.discovery is not None and camera not in self._announced:
            self._announced.add(camera)
            self._announce(camera, outcome)
        values = outcome.to_dict()
        payload = json_text(values).encode()
        if len(payload) > _LARGEST:
            payload = json_text(values | {"result": light(values["result"])}).encode()
        if len(payload) > _LARGEST:
            self.dropped += 1
            return
        self._queue(_Message(f"{self.address.topic}/{camera}/result", payload))

    def _is_due(self, camera: str, captured: float) -> bool:
        if self.address.rate <= 0:
            return True
        if captured < self._due.get(camera, 0.0):
            return False
        self._due[camera] = captured + 1 / self.address.rate
        return True

    def _announce(self, camera: str, outcome: Outcome) -> None:
        """Tell Home Assistant of a camera; once more after each reconnection, for a broker that has forgotten."""
        prefix = self.address.discovery or ""
        made = announcements(prefix, self.address.topic, camera, outcome.camera, outcome.result)
        messages = [_Message(topic, json_text(config).encode(), retain=True) for topic, config in made]
        self._retained += messages
        for message in messages:
            self._queue(message)

    def _queue(self, message: _Message) -> None:
        with self._change:
            if self._closed:
                return
            if len(self._waiting) >= self.address.queue:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(message)
            self._change.notify_all()

    # -- the sender's thread ---------------------------------------------------------------------------------------

    def _send(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._may_send() or (self._closed and not self._waiting))
                if not self._may_send():
                    return
                message = self._waiting.popleft()
            if not self._publish(message):
                with self._change:
                    self._waiting.appendleft(message)
                    self.connected = False

    def _may_send(self) -> bool:
        return bool(self._waiting) and self.connected and self._under_way < _UNDER_WAY

    def _publish(self, message: _Message, qos: int | None = None) -> bool:
        """Hand a message to the library; False where it was not taken.

        Without our lock: the library calls `_on_publish` with a lock of its own held that `publish` needs too.
        """
        qos = self.address.qos if qos is None else qos
        with self._change:
            self._under_way += 1  # before: it may be confirmed before `publish` returns
        info = self._client.publish(message.topic, message.payload, qos=qos, retain=message.retain)
        taken = info.rc == 0 or qos > 0  # with 1 the library sends again what found no connection
        if not taken:
            with self._change:
                self._under_way = max(0, self._under_way - 1)
        return taken

    # -- the library's thread --------------------------------------------------------------------------------------

    def _on_connect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            log.warning("%s refuses: %s", self.address.name, reason)
            return
        log.info("%s: connected", self.address.name)
        self._publish(_Message(f"{self.address.topic}/status", b"online", retain=True), qos=1)
        with self._change:
            waiting = {message.topic for message in self._waiting}
            self._waiting.extendleft(one for one in reversed(self._retained) if one.topic not in waiting)
            self.connected = True
            self._change.notify_all()

    def _on_disconnect(self, client: Any, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        with self._change:
            self.connected = False
            if self.address.qos == 0:
                self._under_way = 0  # what was on its way is lost: nothing will be confirmed
            if not self._closed:
                log.warning("%s: connection lost (%s); %d wait", self.address.name, reason, len(self._waiting))

    def _on_publish(self, client: Any, data: Any, number: int, reason: Any, properties: Any) -> None:
        with self._change:
            self._under_way = max(0, self._under_way - 1)
            self.sent += 1
            self._change.notify_all()

    def close(self) -> None:
        """Send what is left, say ``offline`` and go. Calling it again does nothing."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._change.notify_all()
            self._change.wait_for(lambda: not self.connected or not (self._waiting or self._under_way), self._patience)
            self.dropped += len(self._waiting)
            self._waiting.clear()
            connected = self.connected
            self._change.notify_all()
        if connected:
            # A broker that we leave politely does not publish the will.
            goodbye = self._client.publish(f"{self.address.topic}/status", "offline", qos=1, retain=True)
            until = time.monotonic() + self._patience / 2
            while not goodbye.is_published() and time.monotonic() < until:
                time.sleep(0.01)
        self._client.disconnect()
        self._sender.join(self._patience / 4)
        # `loop_stop` waits for the library's thread, which may be in the middle of an attempt to connect.
        stopping = threading.Thread(target=self._client.loop_stop, name="edgecv mqtt stopping", daemon=True)
        stopping.start()
        stopping.join(self._patience / 4)

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"<MqttSink {self.address.name}: {state}, {self.sent} sent, {len(self._waiting)} wait>"
