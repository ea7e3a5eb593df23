// Bodies that a client has compressed (Content-Encoding), decoded piece by piece.
//
// A few bytes can stand for gigabytes. So a step makes a bounded piece of the body, after which whoever takes
// the pieces checks their size, and whether anybody still waits.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace cachalot::server {

// The names for an answer's Accept-Encoding header.
inline constexpr std::string_view kBodyEncodings = "gzip, deflate, zstd";

class BodyDecoder {
  public:
    static constexpr std::size_t kStep = 256 << 10;  // bytes that a step makes at most

    virtual ~BodyDecoder() = default;

    // Appends more of the body to `out`. Returns whether there is still more to come. Throws Error for data
    // that is damaged, cut off, or needs an unreasonable window to decode.
    virtual bool step(std::string& out) = 0;
};

// Whether a body with this Content-Encoding is plain: there is none, or "identity".
bool is_plain(std::string_view encoding);
// Whether there is a decoder for it.
bool can_decode(std::string_view encoding);

// can_decode() must hold. The decoder keeps `body`.
std::unique_ptr<BodyDecoder> make_body_decoder(std::string_view encoding, std::string body);

}  // namespace cachalot::server
