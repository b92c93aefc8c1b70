"""Events to an MQTT broker, which may come and go."""

from __future__ import annotations

import importlib
import json
import logging
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from asd.errors import UserError

MAX_WAITING = 1000  # messages while the broker is away; then the newest are lost
FLUSH_S = 5.0  # that the last messages have at the end
LOST = {"event": "input", "input": "ended", "words": "listen itself is gone: killed, or cut off"}  # says the broker

log = logging.getLogger(__name__)


class Mqtt:
    """mqtt://[user:password@]host[:port]/topic: each event but `window` is published below it, at least once; where
    the listener is gone without an end, the broker says so there."""

    def __init__(self, url: str) -> None:
        """UserError where the address is none, or paho-mqtt is not installed. The broker need not be there yet."""
        parts = urlsplit(url)
        self._topic = parts.path.strip("/")
        try:
            port = parts.port or 1883
        except ValueError as error:
            raise UserError(f"--mqtt: {error}: give mqtt://host:1883/topic") from None
        if parts.scheme != "mqtt" or not parts.hostname or not self._topic or {"#", "+"} & set(url):
            raise UserError("--mqtt: give mqtt://host:1883/topic, with user:password@ before the host where needed")
        try:
            paho: Any = importlib.import_module("paho.mqtt.client")
        except ImportError:
            raise UserError("--mqtt needs paho-mqtt: pip install -r requirements-live.txt") from None
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(MAX_WAITING)
        self._full = paho.MQTT_ERR_QUEUE_SIZE
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        self._broker = f"mqtt://{parts.hostname}:{port}"
        self._waiting, self._changed = 0, threading.Condition()
        self._said: str | None = None  # of the broker, last
        self._client.on_publish = self._took_one
        self._client.on_connect = lambda client, data, flags, reason, properties: self._say(
            f"it refuses: {reason}" if reason.is_failure else None
        )
        self._client.on_connect_fail = lambda client, data: self._say("no broker answers")
        self._client.on_disconnect = lambda client, data, flags, reason, properties: self._say(
            "the connection is lost" if reason.is_failure and self._said is None else self._said
        )
        self._client.will_set(f"{self._topic}/input", json.dumps(LOST), qos=1)
        self._client.connect_async(parts.hostname, port)
        self._client.loop_start()

    def publish(self, event: dict[str, Any]) -> None:
        if event["event"] == "window":
            return
        with self._changed:
            self._waiting += 1
        if self._client.publish(f"{self._topic}/{event['event']}", json.dumps(event), qos=1).rc == self._full:
            self._took_one()
            log.warning("%s: %d events wait for the broker: this one is lost: %s", self._broker, MAX_WAITING, event)

    def close(self) -> None:
        """Wait a moment for what is not sent yet, unless the broker is away."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or not self._client.is_connected(), FLUSH_S)
            waiting = self._waiting
        if waiting:
            log.warning("%s: %d events have not reached it and are lost", self._broker, waiting)
        self._client.disconnect()
        self._client.loop_stop()

    def _say(self, trouble: str | None) -> None:
        """What has become of the connection, once."""
        if trouble != self._said:
            words = "connected" if trouble is None else f"{trouble}; up to {MAX_WAITING} events wait until it is there"
            log.warning("%s: %s", self._broker, words)
        self._said = trouble

    def _took_one(self, *_: Any) -> None:
        with self._changed:
            self._waiting -= 1
            self._changed.notify()
