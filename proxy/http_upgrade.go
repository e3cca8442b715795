package proxy

import (
	"time"

	"github.com/sluice-cni/sluice/proxy/http1"
)

// checkSwitch refuses a 101 that nobody asked for.
func (h *httpConn) checkSwitch() error {
	if h.resp.Status == 101 && !(h.upgrading && http1.EqualFold(h.resp.UpgradeTo, "websocket")) {
		return &http1.Error{Status: 502, Detail: "http1.unexpected_switch"}
	}
	return nil
}

// upgraded turns the connection into a tunnel after 101 (Switching Protocols).
func (h *httpConn) upgraded(up *upstreamConn) {
	if !h.body.stop() { // its rest would be taken for the new protocol's bytes
		up.close()
		h.reply(localReply{status: 502, body: resetBody + "reset reason: protocol error", flags: "UPE", close: true,
			details: "upstream_reset_before_response_started{protocol_error:http1.switch_within_body}"})
		return
	}
	b := http1.AppendStatusLine(h.back[:0], 101, h.resp.Reason)
	for i := range h.resp.Fields {
		if f := &h.resp.Fields[i]; !f.Hop && !h.edits.Response.Drops(view(f.Name)) {
			b = f.Append(b)
		}
	}
	b = h.edits.Response.AppendLines(b)
	b = http1.AppendField(b, "upgrade", h.resp.UpgradeTo)
	h.back = append(b, "connection: upgrade\r\n\r\n"...)
	h.entry.status = 101
	h.clock.stop()
	up.read.at(time.Time{})
	up.write.at(time.Time{})
	h.write.at(time.Time{})
	h.c.deadline.at(time.Time{})
	if _, err := h.c.tcp.Write(h.back); err != nil {
		up.close()
		return
	}
	h.c.tunnel(up, h.entry.detach())
}
