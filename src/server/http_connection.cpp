// A connection: one coroutine that reads a request, has it answered, and starts over.
//
// The coroutine never waits for the network itself. Reads and writes are single operations whose completion handlers
// put down what happened and wake the coroutine through one timer, which also carries the current deadline; so there is
// one place to wait (sleep()), every wait has a time limit, and nothing ever has to be cancelled:
//
//     socket --on_read--> input_ -->  [ coroutine ]  <--wake-- exchange_  <-- endpoint's threads
//                                          |
//     socket <--on_written---------- output_
//
// The read that notices a client leaving during an answer is simply the read that would have brought the next request:
// what arrives early stays in input_ (bounded, then reading pauses), which also makes pipelining harmless.
//
// Everything here runs on the connection's strand, except Exchange, which has a lock.
#include "server/http_connection.h"

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/optional/optional.hpp>
#ifdef CACHALOT_TLS
#include <boost/asio/ssl/stream.hpp>
#endif

#include "base/error.h"
#include "server/http_error.h"
#include "server/http_exchange.h"

namespace cachalot::server {
namespace {

namespace net = boost::asio;
namespace http = boost::beast::http;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using tcp = net::ip::tcp;

constexpr std::size_t kReadSize = 16 << 10;
constexpr std::size_t kBodyStep = 64 << 10;  // what HttpLimits::body_time is for

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
using Parser = http::request_parser<GrowingBody>;

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

// A request that is answered by the transport. status 0: close without a word.
struct Refusal {
    int status = 0;
    std::string message, code;
    ResponseWriter::Headers headers;
};

int status_of(const error_code& error) {
    if (error == http::error::header_limit) return 431;
    if (error == http::error::body_limit) return 413;
    if (error == http::error::bad_version) return 505;
    return 400;
}

template <class Stream>
class ConnectionOf final : public Connection, public std::enable_shared_from_this<ConnectionOf<Stream>> {
  public:
    ConnectionOf(Stream stream, std::shared_ptr<ConnectionContext> context, bool refuse)
        : stream_(std::move(stream)),
          timer_(stream_.get_executor()),
          context_(std::move(context)),
          limits_(context_->options.limits),
          refuse_(refuse) {
        error_code ignored;
        auto local = socket().local_endpoint(ignored).address();
        if (local.is_v6() && local.to_v6().is_v4_mapped())
            local = net::ip::make_address_v4(net::ip::v4_mapped, local.to_v6());
        local_address_ = local.to_string();
        socket().set_option(tcp::no_delay(true), ignored);
    }

    void start() override {
        auto self = this->shared_from_this();
        net::co_spawn(
            stream_.get_executor(), [self] { return self->run(); }, net::detached);
    }
    void drain() override {
        post([](auto& self) { self.wake(); });
    }
    void abort() override {
        post([](auto& self) {
            self.aborted_ = true;
            self.wake();
        });
    }

  private:
    enum class Read { data, ended, late };
    // Keeps the loops below readable: all waiting that they do.
    using Task = net::awaitable<void>;

    auto& socket() { return stream_.lowest_layer(); }

    template <class Action>
    void post(Action action) {
        net::post(stream_.get_executor(), [self = this->shared_from_this(), action] { action(*self); });
    }

    // ---- waiting ----

    void wake() { timer_.cancel(); }

    void set_deadline(Clock::duration from_now) {
        deadline_ = Clock::now() + from_now;
        late_ = false;
    }

    // Until wake() or the deadline. The caller looks again at what it waits for.
    Task sleep() {
        if (Clock::now() >= deadline_) {
            late_ = true;
            co_return;
        }
        error_code ignored;
        timer_.expires_at(deadline_);
        co_await timer_.async_wait(net::redirect_error(net::use_awaitable, ignored));
    }

    // ---- the two directions ----

    void read_ahead() {
        if (reading_ || ended_ || input_.size() >= limits_.header + kReadSize) return;
        reading_ = true;
        stream_.async_read_some(net::buffer(read_buffer_),
                                [self = this->shared_from_this()](error_code error, std::size_t size) {
                                    self->on_read(error, size);
                                });
    }

    void on_read(error_code error, std::size_t size) {
        reading_ = false;
        if (error) {
            ended_ = true;
            if (exchange_) exchange_->client_left();
        } else {
            input_.append(read_buffer_.data(), size);
            if (exchange_) read_ahead();
        }
        wake();
    }

    // Waits for more input than there is.
    net::awaitable<Read> more_input() {
        std::size_t before = input_.size();
        read_ahead();
        while (input_.size() == before && !ended_ && !late_ && !aborted_) co_await sleep();
        if (input_.size() != before) co_return Read::data;
        co_return ended_ || aborted_ ? Read::ended : Read::late;
    }

    bool gone() const { return aborted_ || (exchange_ && exchange_->client_gone()); }

    // Sends all of output_, as long as there is progress. Returns whether the connection is still good.
    net::awaitable<bool> send() {
        std::size_t sent = 0;
        while (sent < output_.size()) {
            writing_ = true;
            written_ = 0;
            stream_.async_write_some(net::buffer(output_.data() + sent, output_.size() - sent),
                                     [self = this->shared_from_this()](error_code error, std::size_t size) {
                                         self->writing_ = false;
                                         self->written_ = size;
                                         if (error) self->broken_ = true;
                                         self->wake();
                                     });
            set_deadline(limits_.write_time);
            while (writing_ && !late_ && !gone()) co_await sleep();
            if (writing_ || broken_) co_return false;  // output_ stays as it is until the handler has run
            sent += written_;
        }
        output_.clear();
        co_return true;
    }

    // ---- the life of the connection ----

    Task run() {
        bool gentle = false;
        try {
            bool good = true;
            if (refuse_)
                co_await refuse_all();
            else {
                good = co_await handshake();
                while (good && !aborted_) {
                    good = co_await serve_one();
                    if (context_->draining) good = false;
                }
            }
            gentle = true;
        } catch (const std::exception&) {
            // Out of memory, or a mistake of ours: this connection ends, the server goes on.
        }
        if (exchange_) end_exchange();
        try {
            if (gentle) co_await close_gently();
        } catch (const std::exception&) {
        }
        error_code ignored;
        socket().close(ignored);
        context_->on_closed(this);
    }

    net::awaitable<bool> handshake() {
        if constexpr (!std::is_same_v<Stream, tcp::socket>) {
            bool done = false;
            error_code result;
            stream_.async_handshake(Stream::server, [&, self = this->shared_from_this()](error_code error) {
                done = true;
                result = error;
                self->wake();
            });
            set_deadline(limits_.header_time);
            while (!done && !late_ && !aborted_) co_await sleep();
            if (!done) {
                error_code ignored;
                socket().close(ignored);
                while (!done) {  // the handler refers to this frame
                    deadline_ = Clock::time_point::max();
                    co_await sleep();
                }
            }
            if (result) {
                error_code ignored;
                socket().close(ignored);
                ended_ = true;
                co_return false;
            }
            secure_ = true;
        }
        co_return true;
    }

    // Closes so that the client can read what it was sent last. Closing a socket with unread input resets it, which
    // would take the answer away; so wait, for a while, until the client has closed its side.
    Task close_gently() {
        if (aborted_ || broken_ || writing_ || ended_) co_return;
        error_code ignored;
        set_deadline(limits_.linger_time);
        if constexpr (std::is_same_v<Stream, tcp::socket>) {
            socket().shutdown(tcp::socket::shutdown_send, ignored);
        } else if (secure_) {
            auto done = std::make_shared<bool>(false);
            stream_.async_shutdown([done, self = this->shared_from_this()](error_code) {
                *done = true;
                self->wake();
            });
            while (!*done && !late_ && !aborted_) co_await sleep();
            co_return;
        }
        Read read = Read::data;
        while (read == Read::data) {
            input_.clear();
            read = co_await more_input();
        }
    }

    Task refuse_all() {
        set_deadline(limits_.linger_time);
        co_await more_input();  // so that a client has sent its request before it is told
        std::string body = error_body("/", 503, "Too many connections.", "too_many_connections");
        output_ = fmt::format(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
            "Retry-After: 1\r\nConnection: close\r\n\r\n{}",
            body.size(), body);
        co_await send();
    }

    // ---- one request ----

    // Returns whether the connection can serve another one.
    net::awaitable<bool> serve_one() {
        Parser parser;
        parser.header_limit(static_cast<std::uint32_t>(limits_.header));
        parser.body_limit(boost::none);  // checked once the client is known to be allowed in
        request_ = HttpRequest();
        head_known_ = false;
        served_ = Served();
        cors_headers_.clear();

        Refusal refusal;
        if (!co_await read_header(parser, refusal)) {
            if (refusal.status == 0) co_return false;
            co_return co_await answer(parser, nullptr, refusal, false);
        }
        const auto router = context_->router();
        const Route* route = nullptr;
        bool reusable = parser.is_done() || !has_body(parser);
        if (!admit(parser, *router, route, refusal))
            co_return co_await answer(parser, nullptr, refusal, reusable);
        if (!co_await read_body(parser, refusal)) {
            if (refusal.status == 0) co_return false;
            co_return co_await answer(parser, nullptr, refusal, false);
        }
        request_.body = std::move(parser.get().body());
        co_return co_await answer(parser, route, refusal, true);
    }

    // Parses as much of input_ as possible. Returns false, with the status in `refusal`, if it is malformed.
    bool parse(Parser& parser, Refusal& refusal) {
        if (input_.empty()) return true;
        error_code error;
        std::size_t used = parser.put(net::buffer(input_), error);
        input_.erase(0, used);
        if (!error || error == http::error::need_more) {
            // Whatever a parser wants to see in one piece (a chunk's header, the trailer) must fit into the buffer.
            if (error && used == 0 && input_.size() >= limits_.header + kReadSize) {
                refusal = {431, "The request has a line that is too long.", {}, {}};
                return false;
            }
            return true;
        }
        int status = status_of(error);
        if (status == 431 && parser.get().target().empty()) status = 414;  // not even the first line fits
        refusal = {status, "Malformed HTTP request: " + error.message() + ".", {}, {}};
        return false;
    }

    net::awaitable<bool> read_header(Parser& parser, Refusal& refusal) {
        set_deadline(first_request_ ? limits_.header_time : limits_.idle_time);
        bool begun = false;
        while (true) {
            if (!begun && input_.starts_with("\r\n")) input_.erase(0, 2);  // some clients end a body with it
            if (!input_.empty() && !(input_ == "\r" && !begun)) {
                if (!begun && !first_request_) set_deadline(limits_.header_time);
                if (!begun) start_ = Clock::now();
                begun = true;
                first_request_ = false;
                if (!parse(parser, refusal)) co_return false;
                if (parser.is_header_done()) break;
            }
            if (!begun && context_->draining) co_return false;
            Read read;
            do {
                read = co_await more_input_or_drain(begun);
            } while (read == Read::data && input_.empty());
            if (read == Read::late && begun) refusal = {408, "The request's header took too long.", {}, {}};
            if (read != Read::data) co_return false;
        }
        co_return take_header(parser, refusal);
    }

    // As more_input, but ends when an idle connection is to be closed.
    net::awaitable<Read> more_input_or_drain(bool begun) {
        std::size_t before = input_.size();
        read_ahead();
        while (input_.size() == before && !ended_ && !late_ && !aborted_ && (begun || !context_->draining))
            co_await sleep();
        if (input_.size() != before) co_return Read::data;
        co_return late_ ? Read::late : Read::ended;
    }

    static bool has_body(Parser& parser) {
        return parser.chunked() || parser.content_length_remaining().value_or(0) > 0;
    }

    // From Beast's message to ours; refuses what is ambiguous.
    bool take_header(Parser& parser, Refusal& refusal) {
        const auto& message = parser.get();
        served_.method = request_.method = view(message.method_string());
        head_known_ = true;
        auto refuse = [&](int status, std::string text) {
            refusal = {status, std::move(text), {}, {}};
            return false;
        };
        std::size_t hosts = 0, encodings = 0, lengths = 0;
        bool bad_length = false;  // "5, 5" is legal for a recipient to repair, and better not repaired
        for (const auto& field : message) {
            std::string name(view(field.name_string()));
            for (char& c : name)
                if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
            hosts += name == "host";
            encodings += name == "transfer-encoding";
            if (name == "content-length") {
                ++lengths;
                bad_length = bad_length ||
                             view(field.value()).find_first_not_of("0123456789") != std::string_view::npos;
            }
            request_.headers.emplace_back(std::move(name), view(field.value()));
        }
        std::string target(view(message.target()));
        if (target.size() > limits_.request_line) return refuse(414, "The request's target is too long.");
        if (request_.headers.size() > limits_.header_count) return refuse(431, "Too many headers.");
        // Whatever two parties could read differently is not served: a proxy in front may be one of them.
        if (encodings > 1 || lengths > 1 || bad_length || (encodings && lengths) ||
            (encodings && message.version() < 11))
            return refuse(400, "Ambiguous length of the body.");
        if (encodings && !boost::beast::iequals(message[http::field::transfer_encoding], "chunked"))
            return refuse(501, "Only the transfer encoding 'chunked' is supported.");
        if (hosts > 1 || (hosts == 0 && message.version() >= 11))
            return refuse(400, "A request needs exactly one Host header.");
        if (target == "*" && request_.method == "OPTIONS") {
            request_.path = "*";
            return true;
        }
        auto parsed = parse_target(target);
        if (!parsed) return refuse(400, "The request's target is not a path, or has a malformed escape.");
        served_.path = request_.path = std::move(parsed->path);
        request_.query = std::move(parsed->query);
        return true;
    }

    // The order of the checks is the promise: host, origin, key, route, size.
    bool admit(Parser& parser, const Router& router, const Route*& route, Refusal& refusal) {
        const HttpOptions& options = context_->options;
        auto refuse = [&](int status, std::string text, std::string code = {},
                          ResponseWriter::Headers headers = {}) {
            refusal = {status, std::move(text), std::move(code), std::move(headers)};
            return false;
        };
        auto host = request_.header("host");
        bool old = parser.get().version() < 11 && host.empty();  // no browser leaves it out
        if (!old && !context_->hosts.allows(host, local_address_))
            return refuse(403, "This server does not answer to that Host. Name it with --allowed-hosts.",
                          "host_not_allowed");

        auto origin = request_.header("origin");
        bool options_method = request_.method == "OPTIONS";
        if (!origin.empty() && !same_origin(origin, host)) {
            if (auto allowed = options.cors.allows(origin))
                cors_headers_ = fmt::format("Access-Control-Allow-Origin: {}\r\nVary: Origin\r\n", *allowed);
            else if (request_.method != "GET" && request_.method != "HEAD" && !options_method)
                return refuse(403,
                              "Requests from pages of this origin are not allowed. Allow it with --cors.",
                              "origin_not_allowed");
        }
        auto match = router.find(request_.method, request_.path);
        if (options_method) {  // preflights carry no key; nor is there a secret in this
            if (request_.path == "*") match.allowed = "GET, HEAD, POST, OPTIONS";
            if (match.allowed.empty()) return refuse(404, "There is nothing at this path.");
            ResponseWriter::Headers headers = {{"Allow", match.allowed}};
            if (!cors_headers_.empty()) {
                headers.emplace_back("Access-Control-Allow-Methods", match.allowed);
                // "*" does not cover Authorization, so the names that were asked for are repeated.
                std::string asked(request_.header("access-control-request-headers"));
                headers.emplace_back("Access-Control-Allow-Headers",
                                     asked.empty() ? "authorization, content-type, x-api-key" : asked);
                headers.emplace_back("Access-Control-Max-Age", "600");
            }
            return refuse(204, {}, {}, std::move(headers));
        }

        bool open = match.route && match.route->open;
        if (!options.keys.empty()) {
            auto name = options.keys.find(request_.header("authorization"), request_.header("x-api-key"));
            if (!name && !open)
                return refuse(401, "Missing or wrong API key (Authorization: Bearer KEY, or x-api-key: KEY).",
                              {}, {{"WWW-Authenticate", "Bearer"}});
            if (name) served_.key_name = request_.tenant = *name;
        }
        if (match.allowed.empty()) return refuse(404, "There is nothing at this path.");
        if (!match.route)
            return refuse(405, "This path does not take " + request_.method + ".", {},
                          {{"Allow", match.allowed}});
        served_.route = match.route->path;
        if (parser.content_length_remaining().value_or(0) > limits_.body)
            return refuse(413, fmt::format("The body is larger than {} bytes.", limits_.body));
        auto expect = parser.get()[http::field::expect];
        if (!expect.empty() && !boost::beast::iequals(expect, "100-continue"))
            return refuse(417, "Only '100-continue' can be expected.");
        route = match.route;
        return true;
    }

    net::awaitable<bool> read_body(Parser& parser, Refusal& refusal) {
        if (parser.is_done()) co_return true;
        parser.body_limit(limits_.body);
        parser.eager(true);
        if (!parser.get()[http::field::expect].empty() && parser.get().version() >= 11 && input_.empty()) {
            output_ = "HTTP/1.1 100 Continue\r\n\r\n";
            if (!co_await send()) co_return false;
        }
        set_deadline(limits_.body_time);
        std::size_t step = 0;
        while (true) {
            std::size_t before = input_.size();
            if (!parse(parser, refusal)) {
                if (refusal.status == 413)
                    refusal.message = fmt::format("The body is larger than {} bytes.", limits_.body);
                co_return false;
            }
            if (parser.is_done()) co_return true;
            step += before - input_.size();
            if (step >= kBodyStep) {
                step = 0;
                set_deadline(limits_.body_time);
            }
            Read read = co_await more_input();
            if (read == Read::late) refusal = {408, "The request's body took too long.", {}, {}};
            if (read != Read::data) co_return false;
        }
    }

    // ---- the answer ----

    // Has the request answered by the route, or refuses it, and sends the answer. Returns whether the connection can be
    // used again.
    net::awaitable<bool> answer(Parser& parser, const Route* route, const Refusal& refusal, bool reusable) {
        bool http10 = head_known_ && parser.get().version() < 11;
        Exchange::Options options;
        options.path = request_.path;
        options.head = request_.method == "HEAD";
        options.chunked = !http10;
        options.http10 = http10;
        options.keep_alive = reusable && parser.keep_alive() && !context_->draining;
        options.common_headers = cors_headers_ + "X-Content-Type-Options: nosniff\r\n";
        options.max_unsent = limits_.unsent;
        options.keep_text = route ? context_->options.keep_text : 0;
        std::weak_ptr<ConnectionOf> weak = this->weak_from_this();
        exchange_ = std::make_shared<Exchange>(std::move(options), [weak] {
            if (auto self = weak.lock()) self->post([](auto& connection) { connection.wake(); });
        });
        served_.request_text = request_.body.substr(0, context_->options.keep_text);
        if (route)
            call(*route);
        else if (refusal.status == 204)
            exchange_->respond(204, {}, {}, refusal.headers);
        else
            exchange_->respond(refusal.status, "application/json",
                               error_body(request_.path, refusal.status, refusal.message, refusal.code),
                               refusal.headers);
        request_ = HttpRequest();
        if (ended_) exchange_->client_left();  // half-closed before it was answered
        bool delivered = co_await deliver();
        bool keep = delivered && exchange_->keep_alive();
        end_exchange();
        co_return keep;
    }

    void call(const Route& route) {
        auto error = [&](int status, std::string_view text) {
            exchange_->respond(status, "application/json", error_body(request_.path, status, text), {});
            exchange_->abandon();  // a stream that had begun breaks off
        };
        auto writer =
            Exchange::writer(exchange_);  // outlives the call: dropped by an exception it would answer first
        try {
            route.endpoint(request_, writer);
        } catch (const Error& e) {
            error(400, e.what());
        } catch (...) {
            error(500, "Internal error.");
        }
    }

    net::awaitable<bool> deliver() {
        read_ahead();
        while (true) {
            bool complete = exchange_->take(output_);
            if (!output_.empty()) {
                bool sent = co_await send();
                if (!sent) co_return false;
                continue;
            }
            if (complete) co_return true;
            if (gone()) co_return false;
            deadline_ = Clock::time_point::max();
            late_ = false;
            co_await sleep();
        }
    }

    void end_exchange() {
        // Bytes that could not be sent do not count as sent.
        bool sent = output_.empty() && !aborted_ && !broken_;
        exchange_->detach();
        auto result = exchange_->result();
        exchange_.reset();
        if (!context_->options.on_served) return;
        served_.status = result.status;
        served_.complete = result.complete && sent;
        served_.annotation = std::move(result.annotation);
        served_.response_text = std::move(result.text);
        served_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
        try {
            context_->options.on_served(served_);
        } catch (const std::exception&) {
            // A log that cannot be written must not stop the service.
        }
    }

    Stream stream_;
    net::steady_timer timer_;
    std::shared_ptr<ConnectionContext> context_;
    const HttpLimits& limits_;
    bool refuse_;
    std::string local_address_;

    Clock::time_point deadline_ = Clock::time_point::max(), start_ = Clock::now();
    bool late_ = false;     // the deadline has passed
    bool aborted_ = false;  // the server stops now
    bool ended_ = false;    // the client has closed its side, or the connection is broken
    bool broken_ = false;   // a write failed
    bool reading_ = false, writing_ = false, secure_ = false, first_request_ = true, head_known_ = false;
    std::size_t written_ = 0;
    std::array<char, kReadSize> read_buffer_;
    std::string input_;   // received, not yet parsed
    std::string output_;  // being sent; not touched while writing_

    HttpRequest request_;
    Served served_;
    std::string cors_headers_;
    std::shared_ptr<Exchange> exchange_;  // while a request is being answered
};

}  // namespace

std::shared_ptr<Connection> make_connection(tcp::socket socket, std::shared_ptr<ConnectionContext> context,
                                            bool refuse) {
#ifdef CACHALOT_TLS
    if (context->tls) {
        using TlsStream = net::ssl::stream<tcp::socket>;
        TlsStream stream(std::move(socket), *context->tls);
        return std::make_shared<ConnectionOf<TlsStream>>(std::move(stream), std::move(context), refuse);
    }
#endif
    return std::make_shared<ConnectionOf<tcp::socket>>(std::move(socket), std::move(context), refuse);
}

}  // namespace cachalot::server
