"""Publishing to a real broker (mosquitto), which is stopped and started meanwhile."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv_runtime.errors import InputError
from edgecv_runtime.results import Classification, Detections, Pose, Segmentation
from edgecv_runtime.sinks import MqttSink
from edgecv_runtime.sinks.homeassistant import announcements
from edgecv_runtime.sinks.mqtt_address import MqttAddress

# -- addresses -----------------------------------------------------------------------------------------------------


def test_an_address() -> None:
    address = MqttAddress.parse(
        "mqtts://me:p%40ss@broker.lan:9883/house/door?qos=0&rate=5&queue=9&discovery=homeassistant&client=x"
    )
    assert (address.host, address.port, address.topic, address.tls) == ("broker.lan", 9883, "house/door", True)
    assert (address.user, address.password) == ("me", "p@ss")
    assert (address.qos, address.rate, address.queue, address.discovery) == (0, 5.0, 9, "homeassistant")
    assert "p@ss" not in repr(address) and "p%40ss" not in repr(address) and "me" not in address.name.split("@")[0]
    plain = MqttAddress.parse("mqtt://broker")
    assert (plain.port, plain.qos, plain.user, plain.tls, plain.discovery) == (1883, 1, None, False, None)
    assert plain.topic == f"edgecv/{socket.gethostname()}"


def test_a_password_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_MQTT_PASSWORD", "secret")
    assert MqttAddress.parse("mqtt://me@broker").password == "secret"
    assert MqttAddress.parse("mqtt://me:other@broker").password == "other"
    assert MqttAddress.parse("mqtt://broker").password is None


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mqtt:///topic", "a broker's address is mqtt://HOST/TOPIC"),
        ("http://me:secret@broker", r"received http://\*\*\*@broker"),
        ("mqtt://me:secret@broker:99999/a", r"the port of mqtt://\*\*\*@broker:99999/a must be a number"),
        ("mqtt://me:secret@broker/a?qos=2", "qos must be a whole number from 0 to 1; received '2'"),
        ("mqtt://broker/a?rate=x", "rate must be a number from 0 to 1000"),
        ("mqtt://broker/a?colour=red", "takes qos, rate, queue, discovery, client behind the ?"),
        ("mqtt://broker/a/+/b", "must not hold \\+ or #"),
    ],
)
def test_what_is_no_address(uri: str, message: str, one_line: Any) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MqttAddress.parse(uri)
    assert "secret" not in one_line(caught)


def test_home_assistant_is_told_what_the_model_answers() -> None:
    names = ("cat", "dog")
    results = {
        "objects": Detections.none(names),
        "class": Classification(np.array([1, 0]), np.float32([0.9, 0.1]), names),
        "largest class": Segmentation(np.zeros((2, 2), int), names),
        "frame": Pose(np.zeros((1, 2), np.float32), np.zeros(1, np.float32)),
    }
    for what, result in results.items():
        seen, age = announcements("homeassistant", "house/door", "cam_1", "cam 1", result)
        assert seen[0] == "homeassistant/sensor/edgecv_house_door/cam_1_seen/config"
        assert seen[1]["name"] == f"cam 1 {what}" and seen[1]["state_topic"] == "house/door/cam_1/result"
        assert seen[1]["availability_topic"] == "house/door/status"
        assert age[1]["unit_of_measurement"] == "ms" and age[1]["unique_id"] != seen[1]["unique_id"]
        assert age[1]["device"] == seen[1]["device"]


# -- without a broker ----------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def test_without_a_broker_the_newest_wait(make_outcome: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    sink = MqttSink(f"mqtt://me:secret@127.0.0.1:{free_port()}/a?queue=10")
    for index in range(100):
        sink.write(make_outcome(index))
    assert sink.dropped == 90 and not sink.connected and sink.sent == 0
    assert [json.loads(message.payload)["index"] for message in sink._waiting] == list(range(90, 100))
    sink.close()
    sink.close()
    assert sink.dropped == 100 and "secret" not in repr(sink) + caplog.text


def test_a_rate_for_each_camera(make_outcome: Any) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{free_port()}/a?rate=2")
    for step in range(10):  # one second, ten frames of each camera
        for camera in ("left", "right"):
            sink.write(make_outcome(step, camera=camera, captured=1000 + step / 10))
    topics = [(message.topic, json.loads(message.payload)["index"]) for message in sink._waiting]
    assert topics == [("a/left/result", 0), ("a/right/result", 0), ("a/left/result", 5), ("a/right/result", 5)]
    sink.close()


def test_large_masks_are_left_out(make_outcome: Any) -> None:
    sink = MqttSink(f"mqtt://127.0.0.1:{free_port()}/a")
    noise = np.random.default_rng(0).integers(0, 2, (400, 400))
    sink.write(make_outcome(0, result=Segmentation(noise, ("no", "yes"))))
    values = json.loads(sink._waiting[0].payload)
    assert set(values["result"]) == {"size", "classes"} and len(sink._waiting[0].payload) < 1000
    sink.close()


# -- with a broker -------------------------------------------------------------------------------------------------


class Broker:
    """mosquitto, with what it keeps in a folder."""

    def __init__(self, program: str, folder: Path) -> None:
        self.program, self.folder, self.port = program, folder, free_port()
        self.settings = "allow_anonymous true\n"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"listener {self.port} 127.0.0.1\npersistence true\npersistence_location {self.folder}/\nuser root\n"
            f"max_queued_messages 100000\n{self.settings}"
        )
        command = [self.program, "-c", str(config)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None


def until(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait for something that must come; the limit is only for one that never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("needs the broker mosquitto (Debian: apt-get install mosquitto)")
    one = Broker(program, tmp_path)
    yield one
    one.stop()


class Subscriber:
    """Everything below a topic; the broker keeps for it what it misses."""

    def __init__(self, port: int, user: str | None = None, password: str | None = None) -> None:
        import paho.mqtt.client as mqtt

        self.messages: list[tuple[str, bytes, bool]] = []
        self.there = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="reader", clean_session=False)
        if user is not None:
            self.client.username_pw_set(user, password)
        self.client.on_connect = lambda client, *_: client.subscribe("#", qos=1)
        self.client.on_subscribe = lambda *_: self.there.set()
        self.client.on_message = lambda client, data, one: self.messages.append((one.topic, one.payload, one.retain))
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert self.there.wait(60)

    def of(self, topic: str) -> list[bytes]:
        return [payload for name, payload, _ in list(self.messages) if name == topic]

    def indices(self, topic: str) -> list[int]:
        return [json.loads(payload)["index"] for payload in self.of(topic)]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def subscribe() -> Iterator[Callable[..., Subscriber]]:
    there: list[Subscriber] = []

    def start(*arguments: Any) -> Subscriber:
        there.append(Subscriber(*arguments))
        return there[-1]

    yield start
    for one in there:
        one.close()


def test_messages_arrive(broker: Broker, subscribe: Any, make_outcome: Any) -> None:
    broker.start()
    reader = subscribe(broker.port)
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/house?discovery=homeassistant")
    found = Detections(np.float32([[1, 2, 3, 4]]), np.float32([0.5]), np.array([0]), ("cat",))
    for index in range(40):
        sink.write(make_outcome(index, camera="front door", result=found))
    topic = "house/front_door/result"
    until(lambda: len(reader.of(topic)) == 40)
    assert reader.indices(topic) == list(range(40))
    assert json.loads(reader.of(topic)[0])["result"]["labels"] == ["cat"]
    assert reader.of("house/status") == [b"online"]
    told = reader.of("homeassistant/sensor/edgecv_house/front_door_seen/config")
    assert json.loads(told[0])["state_topic"] == topic
    sink.close()
    until(lambda: reader.of("house/status") == [b"online", b"offline"])
    assert sink.dropped == 0 and not [thread for thread in threading.enumerate() if "mqtt sender" in thread.name]


@pytest.mark.slow  # reconnecting takes seconds
def test_the_broker_is_restarted(broker: Broker, subscribe: Any, make_outcome: Any) -> None:
    broker.start()
    reader = subscribe(broker.port)
    sink = MqttSink(f"mqtt://127.0.0.1:{broker.port}/a?queue=1000")
    written = 0
    for restart in range(3):
        until(lambda: sink.connected)
        for _ in range(30):
            sink.write(make_outcome(written))
            written += 1
        until(lambda: sink.sent > 60 * restart)  # noqa: B023  # it is sending
        broker.stop()
        for _ in range(30):
            sink.write(make_outcome(written))
            written += 1
        until(lambda: not sink.connected)
        broker.start()
    until(lambda: set(reader.indices("a/door/result")) == set(range(written)))
    first_time = list(dict.fromkeys(reader.indices("a/door/result")))  # at least once: some may come twice
    assert first_time == list(range(180)) and sink.dropped == 0
    sink.close()


def test_the_last_will(broker: Broker, subscribe: Any, tmp_path: Path) -> None:
    broker.start()
    reader = subscribe(broker.port)
    program = (
        "import time\nfrom edgecv_runtime.sinks import MqttSink\n"
        f"sink = MqttSink('mqtt://127.0.0.1:{broker.port}/a')\ntime.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program])
    until(lambda: reader.of("a/status") == [b"online"])
    process.send_signal(signal.SIGKILL)
    process.wait(20)
    until(lambda: reader.of("a/status") == [b"online", b"offline"])


def test_a_broker_that_refuses(
    broker: Broker, subscribe: Any, make_outcome: Any, caplog: pytest.LogCaptureFixture
) -> None:
    users = broker.folder / "users"
    made = subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "me", "right-secret"], check=False)
    assert made.returncode == 0
    broker.settings = f"allow_anonymous false\npassword_file {users}\n"
    broker.start()
    caplog.set_level(logging.DEBUG)
    sink = MqttSink(f"mqtt://me:wrong-secret@127.0.0.1:{broker.port}/a")
    sink.write(make_outcome(0))
    until(lambda: "refuses: Not authorized" in caplog.text)
    assert not sink.connected and sink.sent == 0
    sink.close()
    right = MqttSink(f"mqtt://me:right-secret@127.0.0.1:{broker.port}/a")
    reader = subscribe(broker.port, "me", "right-secret")
    right.write(make_outcome(1))
    until(lambda: reader.indices("a/door/result") == [1])
    right.close()
    assert "secret" not in caplog.text and "***@127.0.0.1" in caplog.text
