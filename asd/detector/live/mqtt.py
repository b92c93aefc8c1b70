"""Events to an MQTT broker, which may come and go."""

from __future__ import annotations

import importlib
import json
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from asd.errors import UserError

MAX_WAITING = 1000  # messages while the broker is away; then the newest are lost
FLUSH_S = 5.0  # that the last messages have at the end


class Mqtt:
    """mqtt://[user:password@]host[:port]/topic: each event but `window` is published below it, at least once."""

    def __init__(self, url: str) -> None:
        """UserError where the address is none, or paho-mqtt is not installed. The broker need not be there yet."""
        parts = urlsplit(url)
        self._topic = parts.path.strip("/")
        if parts.scheme != "mqtt" or not parts.hostname or not self._topic or {"#", "+"} & set(url):
            raise UserError("--mqtt: give mqtt://host:1883/topic, with user:password@ before the host where needed")
        try:
            paho: Any = importlib.import_module("paho.mqtt.client")
        except ImportError:
            raise UserError("--mqtt needs paho-mqtt: pip install -r requirements-live.txt") from None
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.max_queued_messages_set(MAX_WAITING)
        if parts.username:
            self._client.username_pw_set(unquote(parts.username), unquote(parts.password or ""))
        self._waiting, self._changed = 0, threading.Condition()
        self._client.on_publish = self._took_one
        self._client.connect_async(parts.hostname, parts.port or 1883)
        self._client.loop_start()

    def publish(self, event: dict[str, Any]) -> None:
        if event["event"] == "window":
            return
        with self._changed:
            self._waiting += 1
        self._client.publish(f"{self._topic}/{event['event']}", json.dumps(event), qos=1)

    def close(self) -> None:
        """Wait a moment for what is not sent yet, unless the broker is away."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or not self._client.is_connected(), FLUSH_S)
        self._client.disconnect()
        self._client.loop_stop()

    def _took_one(self, *_: Any) -> None:
        with self._changed:
            self._waiting -= 1
            self._changed.notify()
