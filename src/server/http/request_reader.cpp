#include "server/http/request_reader.h"

#include <fmt/format.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/optional/optional.hpp>
#include <limits>

#include "base/ascii.h"
#include "server/http/router.h"

namespace cachalot::server {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;

// What a parser wants to see in one piece (a header, a chunk's header, the trailer) may be this much longer
// than the limit of headers before it is refused.
constexpr std::size_t kSlack = 16 << 10;

// Collects the body as it arrives. Beast's own string_body reserves what Content-Length claims.
struct GrowingBody {
    using value_type = std::string;
    struct reader {
        template <bool kRequest, class Fields>
        reader(http::header<kRequest, Fields>&, value_type& body) : body_(body) {}
        void init(const boost::optional<std::uint64_t>&, error_code& error) { error = {}; }
        template <class Buffers>
        std::size_t put(const Buffers& buffers, error_code& error) {
            error = {};
            std::size_t size = 0;
            for (auto it = net::buffer_sequence_begin(buffers); it != net::buffer_sequence_end(buffers);
                 ++it) {
                net::const_buffer piece = *it;
                body_.append(static_cast<const char*>(piece.data()), piece.size());
                size += piece.size();
            }
            return size;
        }
        void finish(error_code& error) { error = {}; }

      private:
        value_type& body_;
    };
};

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

int status_of(const error_code& error) {
    if (error == http::error::header_limit) return 431;
    if (error == http::error::body_limit) return 413;
    if (error == http::error::bad_version) return 505;
    return 400;
}

}  // namespace

struct RequestReader::Impl {
    const HttpLimits& limits;
    http::request_parser<GrowingBody> parser = {};
};

RequestReader::RequestReader(const HttpLimits& limits) : impl_(new Impl{limits}) {
    impl_->parser.header_limit(static_cast<std::uint32_t>(limits.header));
    // Checked once the client is known to be allowed in. Boost 1.74 takes boost::none for a limit of nothing.
    impl_->parser.body_limit(std::numeric_limits<std::uint64_t>::max());
}
RequestReader::~RequestReader() = default;

bool RequestReader::feed(std::string& input, Refusal& refusal) {
    if (input.empty() || done()) return true;
    auto& [limits, parser] = *impl_;
    error_code error;
    std::size_t used = parser.put(net::buffer(input), error);
    input.erase(0, used);
    if (!error || error == http::error::need_more) {
        if (!error || used > 0 || input.size() < limits.header + kSlack) return true;
        refusal = {431, "The request has a line that is too long.", {}, {}};
        return false;
    }
    int status = status_of(error);
    if (status == 431 && parser.get().target().empty()) status = 414;  // not even the first line fits
    refusal = {status, "Malformed HTTP request: " + error.message() + ".", {}, {}};
    if (status == 413) refusal.message = fmt::format("The body is larger than {} bytes.", limits.body);
    return false;
}

bool RequestReader::take_header(HttpRequest& request, Refusal& refusal) const {
    const auto& limits = impl_->limits;
    const auto& message = impl_->parser.get();
    auto refuse = [&](int status, std::string text) {
        refusal = {status, std::move(text), {}, {}};
        return false;
    };
    request.method = view(message.method_string());
    std::size_t hosts = 0, encodings = 0, lengths = 0;
    bool bad_length = false;  // "5, 5" is legal for a recipient to repair, and better not repaired
    for (const auto& field : message) {
        std::string name = lower(view(field.name_string()));
        hosts += name == "host";
        encodings += name == "transfer-encoding";
        if (name == "content-length") {
            ++lengths;
            bad_length =
                bad_length || view(field.value()).find_first_not_of("0123456789") != std::string_view::npos;
        }
        request.headers.emplace_back(std::move(name), view(field.value()));
    }
    std::string target(view(message.target()));
    if (target.size() > limits.request_line) return refuse(414, "The request's target is too long.");
    if (request.headers.size() > limits.header_count) return refuse(431, "Too many headers.");
    // Whatever two parties could read differently is not served: a proxy in front may be one of them.
    if (encodings > 1 || lengths > 1 || bad_length || (encodings && lengths) ||
        (encodings && message.version() < 11))
        return refuse(400, "Ambiguous length of the body.");
    if (encodings && lower(request.header("transfer-encoding")) != "chunked")
        return refuse(501, "Only the transfer encoding 'chunked' is supported.");
    if (hosts > 1 || (hosts == 0 && message.version() >= 11))
        return refuse(400, "A request needs exactly one Host header.");
    if (target == "*" && request.method == "OPTIONS") {
        request.path = "*";
        return true;
    }
    auto parsed = parse_target(target);
    if (!parsed) return refuse(400, "The request's target is not a path, or has a malformed escape.");
    request.path = std::move(parsed->path);
    request.query = std::move(parsed->query);
    return true;
}

bool RequestReader::header_done() const { return impl_->parser.is_header_done(); }
bool RequestReader::done() const { return impl_->parser.is_done(); }
bool RequestReader::has_body() const {
    return !done() && (impl_->parser.chunked() || impl_->parser.content_length_remaining().value_or(0) > 0);
}
std::uint64_t RequestReader::content_length() const {
    return impl_->parser.content_length_remaining().value_or(0);
}
bool RequestReader::http10() const { return impl_->parser.get().version() < 11; }
bool RequestReader::keep_alive() const { return impl_->parser.keep_alive(); }
std::string RequestReader::expect() const { return lower(view(impl_->parser.get()[http::field::expect])); }

void RequestReader::begin_body() {
    impl_->parser.body_limit(impl_->limits.body);
    impl_->parser.eager(true);
}
std::size_t RequestReader::body_size() const { return impl_->parser.get().body().size(); }
std::string RequestReader::take_body() { return std::move(impl_->parser.get().body()); }

}  // namespace cachalot::server
