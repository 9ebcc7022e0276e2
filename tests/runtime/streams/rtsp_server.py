"""An RTSP server with numbered frames, run by a Python that has GStreamer's bindings (Debian: python3-gi,
gir1.2-gst-rtsp-server-1.0, gstreamer1.0-plugins-good): ``python3 rtsp_server.py PORT WIDTH HEIGHT FPS``.

The number of a frame counts frame times since 1 January 1970, modulo 65536, and stands in sixteen stripes, black for 0
and white for 1, the lowest bit on the left: no compression can blur it.
"""

import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PORT, WIDTH, HEIGHT, FPS = sys.argv[1], *map(int, sys.argv[2:5])


def frame(number):
    stripes = (b"\xff" if number >> bit & 1 else b"\0" for bit in range(16))
    return b"".join(stripe * (3 * WIDTH // 16) for stripe in stripes) * HEIGHT


class Factory(GstRtspServer.RTSPMediaFactory):
    def do_create_element(self, url):
        return Gst.parse_launch(
            "appsrc name=source is-live=true do-timestamp=true format=time block=false "
            f"caps=video/x-raw,format=BGR,width={WIDTH},height={HEIGHT},framerate={FPS}/1 "
            "! videoconvert ! video/x-raw,format=I420 ! jpegenc quality=90 ! rtpjpegpay name=pay0 pt=26"
        )

    def do_configure(self, media):
        source = media.get_element().get_child_by_name("source")
        state = {"on": True}

        def push():
            if not state["on"]:
                return False
            number = int(time.time() * FPS) % 65536
            return source.emit("push-buffer", Gst.Buffer.new_wrapped(frame(number))) == Gst.FlowReturn.OK

        media.connect("unprepared", lambda media: state.update(on=False))
        GLib.timeout_add(1000 // FPS, push)


Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(PORT)
factory = Factory()
factory.set_shared(True)
server.get_mount_points().add_factory("/live", factory)
server.attach(None)
print("ready", flush=True)  # noqa: T201
GLib.MainLoop().run()
