package http1

// Error is a message that must not be forwarded. Status is what the sender of a
// request is answered with; the connection is closed after it.
type Error struct {
	Status int    // 400, 431, 501 or 505
	Detail string // Envoy's response code detail where it has one
}

func (e *Error) Error() string { return e.Detail }

var (
	errStartLine        = &Error{400, "http1.bad_start_line"}
	errVersion          = &Error{505, "http1.unsupported_version"}
	errFieldName        = &Error{400, "http1.bad_field_name"}
	errFieldValue       = &Error{400, "http1.bad_field_value"}
	errLineEnd          = &Error{400, "http1.bad_line_end"}
	errFold             = &Error{400, "http1.folded_field"}
	errTooLarge         = &Error{431, "http1.headers_too_large"}
	errTooMany          = &Error{431, "http1.too_many_headers"}
	errContentLength    = &Error{400, "http1.invalid_content_length"}
	errLengthAndChunked = &Error{400, "http1.content_length_and_chunked_not_allowed"}
	errTransferEncoding = &Error{501, "http1.unsupported_transfer_encoding"}
	errTEinHTTP10       = &Error{400, "http1.transfer_encoding_in_http10"}
	errHosts            = &Error{400, "http1.several_hosts"}
	errHost             = &Error{400, "http1.invalid_host"}
	errConnection       = &Error{400, "http1.too_many_connection_options"}
	errTarget           = &Error{400, "http1.invalid_target"}
	errChunkSize        = &Error{400, "http1.invalid_chunk_size"}
	errChunkEnd         = &Error{400, "http1.invalid_chunk_end"}

	// ErrMissingHost is an HTTP/1.1 request that names no host (RFC 9112 §3.2).
	ErrMissingHost = &Error{400, "missing_host_header"}
)
