#include "server/http/encoding.h"

#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <limits>

#include "base/ascii.h"
#include "base/error.h"

namespace cachalot::server {
namespace {

// What RFC 8878 asks decoders to support. A larger window would have to be allocated before anything is known
// of the content.
constexpr int kZstdWindowLog = 23;

// gzip, of any number of members, and deflate, which is zlib's format but for some clients the bare data.
class ZlibDecoder final : public BodyDecoder {
  public:
    ZlibDecoder(std::string body, bool gzip) : body_(std::move(body)), gzip_(gzip) {
        const bool zlib_header =
            body_.size() >= 2 && (body_[0] & 0x0f) == 8 &&
            (static_cast<unsigned char>(body_[0]) * 256 + static_cast<unsigned char>(body_[1])) % 31 == 0;
        const int window = gzip ? MAX_WBITS + 16 : zlib_header ? MAX_WBITS : -MAX_WBITS;
        if (inflateInit2(&stream_, window) != Z_OK) throw std::bad_alloc();
    }
    ~ZlibDecoder() override { inflateEnd(&stream_); }
    ZlibDecoder(const ZlibDecoder&) = delete;

    bool step(std::string& out) override {
        const std::size_t before = out.size();
        out.resize(before + kStep);
        const auto input =
            static_cast<uInt>(std::min<std::size_t>(body_.size() - at_, std::numeric_limits<uInt>::max()));
        stream_.next_in = reinterpret_cast<Bytef*>(body_.data()) + at_;
        stream_.avail_in = input;
        stream_.next_out = reinterpret_cast<Bytef*>(out.data()) + before;
        stream_.avail_out = kStep;
        const int result = inflate(&stream_, Z_NO_FLUSH);
        out.resize(before + kStep - stream_.avail_out);
        at_ += input - stream_.avail_in;
        if (result == Z_STREAM_END) {
            if (at_ == body_.size()) return false;
            if (!gzip_ || inflateReset(&stream_) != Z_OK) fail("something follows the compressed body");
            return true;
        }
        if (result == Z_MEM_ERROR) throw std::bad_alloc();
        if (result == Z_BUF_ERROR || (result == Z_OK && at_ == body_.size() && stream_.avail_out > 0))
            fail("the compressed body is cut off");
        if (result != Z_OK) fail("the compressed body is damaged");
        return true;
    }

  private:
    std::string body_;
    const bool gzip_;
    std::size_t at_ = 0;  // of body_
    z_stream stream_ = {};
};

class ZstdDecoder final : public BodyDecoder {
  public:
    explicit ZstdDecoder(std::string body) : body_(std::move(body)), stream_(ZSTD_createDStream()) {
        if (!stream_) throw std::bad_alloc();
        ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, kZstdWindowLog);
        if (body_.empty()) fail("the compressed body is cut off");
    }

    bool step(std::string& out) override {
        const std::size_t before = out.size();
        out.resize(before + kStep);
        ZSTD_inBuffer from{body_.data(), body_.size(), at_};
        ZSTD_outBuffer to{out.data() + before, kStep, 0};
        const std::size_t result = ZSTD_decompressStream(stream_.get(), &to, &from);
        out.resize(before + to.pos);
        at_ = from.pos;
        if (ZSTD_getErrorCode(result) == ZSTD_error_frameParameter_windowTooLarge)
            fail(
                "the compressed body has a window of more than {} MiB: "
                "compress it with a smaller one (zstd without --long or --ultra)",
                (1 << kZstdWindowLog) >> 20);
        if (ZSTD_isError(result)) fail("the compressed body is damaged: {}", ZSTD_getErrorName(result));
        if (result == 0) return at_ < body_.size();  // a frame is over; another may follow
        if (at_ == body_.size() && to.pos < kStep) fail("the compressed body is cut off");
        return true;
    }

  private:
    struct Free {
        void operator()(ZSTD_DStream* stream) const { ZSTD_freeDStream(stream); }
    };
    std::string body_;
    std::size_t at_ = 0;
    std::unique_ptr<ZSTD_DStream, Free> stream_;
};

}  // namespace

bool is_plain(std::string_view encoding) { return encoding.empty() || lower(encoding) == "identity"; }

bool can_decode(std::string_view encoding) {
    const auto name = lower(encoding);
    return name == "gzip" || name == "x-gzip" || name == "deflate" || name == "zstd";
}

std::unique_ptr<BodyDecoder> make_body_decoder(std::string_view encoding, std::string body) {
    CACHALOT_CHECK(can_decode(encoding));
    const auto name = lower(encoding);
    if (name == "zstd") return std::make_unique<ZstdDecoder>(std::move(body));
    return std::make_unique<ZlibDecoder>(std::move(body), name != "deflate");
}

}  // namespace cachalot::server
