// A connection: one coroutine that reads a request, has it answered, and starts over.
//
//     socket --> [ wire ] --bytes--> [ request_reader ] --> [ admission ] --> endpoint
//                   ^                                                            |
//                   +----bytes---- [ exchange ] <------- answer, on any thread --+
//
// The read that notices a client leaving during an answer is simply the read that would have brought the next
// request: what arrives early stays in the wire's input (bounded, then reading pauses), which also makes
// pipelining harmless.
//
// Everything here runs on the connection's strand, except Exchange, which has a lock, and what is done about
// a body: that is decoded and read on other threads (request_workers.h).
#include "server/http/connection.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "base/error.h"
#include "server/http/admission.h"
#include "server/http/encoding.h"
#include "server/http/error.h"
#include "server/http/exchange.h"
#include "server/http/request_reader.h"
#include "server/http/wire.h"
#include "service/client_error.h"
#include "service/random_id.h"

namespace cachalot::server {
namespace {

namespace net = boost::asio;
using Clock = Wire::Clock;
using Read = Wire::Read;

constexpr std::size_t kBodyStep = 64 << 10;  // what HttpLimits::body_time is for

class HttpConnection final : public Connection, public std::enable_shared_from_this<HttpConnection> {
  public:
    HttpConnection(std::unique_ptr<Socket> socket, std::shared_ptr<ConnectionContext> context, bool refuse)
        : context_(std::move(context)),
          limits_(context_->options.limits),
          wire_(std::make_shared<Wire>(std::move(socket), limits_, context_->large_requests)),
          local_address_(wire_->local_address()),
          refuse_(refuse) {}

    void start() override {
        auto self = shared_from_this();
        net::co_spawn(
            wire_->executor(), [self] { return self->run(); }, net::detached);
    }
    void drain() override {
        net::post(wire_->executor(), [wire = wire_] { wire->wake(); });
    }
    void abort() override {
        net::post(wire_->executor(), [wire = wire_] { wire->abort(); });
    }

  private:
    net::awaitable<void> run() {
        bool gentle = false;
        try {
            if (refuse_)
                co_await refuse_all();
            else if (co_await wire_->handshake())
                while (co_await serve_one() && !context_->draining && !wire_->aborted()) {
                }
            else
                log().often(LogLevel::debug, "a connection failed",
                            {{"error", problem("no handshake in time")}});
            gentle = true;
        } catch (const std::exception& e) {
            // Out of memory, or a mistake of ours: this connection ends, the server goes on.
            log().often(LogLevel::error, "a connection ended", {{"error", e.what()}});
        }
        if (exchange_) end_exchange();
        held_.reset();
        try {
            if (gentle) co_await wire_->close_gently();
        } catch (const std::exception& e) {
            log().often(LogLevel::debug, "a connection was not closed in order", {{"error", e.what()}});
        }
        wire_->close();
        context_->on_closed(this);
    }

    const Log& log() const { return context_->options.log; }
    std::string problem(const char* otherwise) const {
        return wire_->error() ? wire_->error().message() : otherwise;
    }

    net::awaitable<void> refuse_all() {
        wire_->set_deadline(limits_.linger_time);
        co_await wire_->more_input();  // so that a client has sent its request before it is told
        std::string body = error_body("/", 503, "Too many connections.", "too_many_connections");
        wire_->output = fmt::format(
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: {}\r\n"
            "Retry-After: 1\r\nConnection: close\r\n\r\n{}",
            body.size(), body);
        co_await wire_->send();
    }

    // Returns whether the connection can serve another request.
    net::awaitable<bool> serve_one() {
        RequestReader reader(limits_);
        wire_->begin_request();
        request_ = HttpRequest();
        request_.id = random_id("");
        served_ = Served();
        served_.id = "req_" + request_.id;
        head_known_ = false;
        cors_headers_.clear();
        held_ = std::make_shared<HeldBytes>(context_->bodies);

        Refusal refusal;
        if (!co_await read_header(reader, refusal)) {
            if (refusal.status == 0) co_return false;
            co_return co_await answer(reader, nullptr, refusal, false);
        }
        router_ = context_->router();
        Admission admission =
            admit(request_, reader, context_->options, context_->hosts, *router_, local_address_);
        served_.key_name = request_.tenant = admission.key_name;
        if (admission.route) {
            served_.route = admission.route->path;
            request_.path = std::move(admission.path);
        }
        cors_headers_ = std::move(admission.cors_headers);
        if (admission.refusal)
            co_return co_await answer(reader, nullptr, *admission.refusal, !reader.has_body());
        if (!co_await read_body(reader, refusal)) {
            if (refusal.status == 0) co_return false;
            co_return co_await answer(reader, nullptr, refusal, false);
        }
        request_.body = reader.take_body();
        co_return co_await answer(reader, admission.route, refusal, true);
    }

    // ---- the request ----

    // Returns false if there is none: with a refusal, or because the connection ended or was idle for too
    // long.
    net::awaitable<bool> read_header(RequestReader& reader, Refusal& refusal) {
        std::string& input = wire_->input;
        bool begun = false;
        auto stop = [&] { return !begun && context_->draining; };
        wire_->set_deadline(first_request_ ? limits_.header_time : limits_.idle_time);
        while (true) {
            if (!begun && input.starts_with("\r\n")) input.erase(0, 2);  // some clients end a body with it
            if (!input.empty() && !(input == "\r" && !begun)) {
                if (!begun) {
                    if (!first_request_) wire_->set_deadline(limits_.header_time);
                    start_ = Clock::now();
                }
                begun = true;
                first_request_ = false;
                if (!reader.feed(input, refusal)) co_return false;
                if (reader.header_done()) break;
            }
            if (stop()) co_return false;
            Read read = co_await wire_->more_input(stop);
            if (read == Read::late && begun) refusal = {408, "The request's header took too long.", {}, {}};
            if (read != Read::data) co_return false;
        }
        head_known_ = true;
        bool good = reader.take_header(request_, refusal);
        served_.method = request_.method;
        served_.path = request_.path;
        co_return good;
    }

    net::awaitable<bool> read_body(RequestReader& reader, Refusal& refusal) {
        if (reader.done()) co_return true;
        reader.begin_body();
        if (!reader.expect().empty() && !reader.http10() && wire_->input.empty()) {
            wire_->output = "HTTP/1.1 100 Continue\r\n\r\n";
            if (!co_await wire_->send()) co_return false;
        }
        wire_->set_deadline(limits_.body_time);
        std::size_t step = 0;
        while (true) {
            const std::size_t before = wire_->input.size();
            if (!reader.feed(wire_->input, refusal)) co_return false;
            if (!held_->grow(reader.body_size())) {
                refusal = no_memory();
                co_return false;
            }
            if (reader.done()) co_return true;
            step += before - wire_->input.size();
            if (step >= kBodyStep) {
                step = 0;
                wire_->set_deadline(limits_.body_time);
            }
            Read read = co_await wire_->more_input();
            if (read == Read::late) refusal = {408, "The request's body took too long.", {}, {}};
            if (read != Read::data) co_return false;
        }
    }

    // The memory of all requests is bounded together; a request gives its part back when it has been
    // answered.
    static Refusal no_memory() {
        return {503,
                "The server has no memory left for requests of this size.",
                "out_of_memory",
                {{"Retry-After", "1"}}};
    }

    // ---- the answer ----

    // Has the request answered by the route, or refuses it, and sends the answer. Returns whether the
    // connection can be used again.
    net::awaitable<bool> answer(const RequestReader& reader, const Route* route, const Refusal& refusal,
                                bool reusable) {
        const bool http10 = head_known_ && reader.http10();
        Exchange::Options options;
        options.path = request_.path;
        options.request_id = served_.id;
        options.log = log();
        options.head = request_.method == "HEAD";
        options.chunked = !http10;
        options.http10 = http10;
        options.keep_alive = reusable && reader.keep_alive() && !context_->draining;
        // The id under the names that Anthropic's and OpenAI's clients look for.
        options.common_headers = cors_headers_ + "X-Content-Type-Options: nosniff\r\n" +
                                 fmt::format("request-id: {0}\r\nx-request-id: {0}\r\n", served_.id);
        options.max_unsent = limits_.unsent;
        options.keep_text = route ? context_->options.keep_text : 0;
        std::weak_ptr<Wire> weak = wire_;
        exchange_ = std::make_shared<Exchange>(std::move(options), [weak] {
            if (auto wire = weak.lock()) net::post(wire->executor(), [wire] { wire->wake(); });
        });
        if (route)
            call(*route);
        else if (refusal.status == 204)
            exchange_->respond(204, {}, {}, refusal.headers);
        else
            refuse(*exchange_, request_.path, refusal);
        request_ = HttpRequest();
        probed_ = false;
        const bool delivered = co_await deliver();
        if (!delivered && log().wants(LogLevel::debug))
            log().debug("a client left before the end of its answer",
                        {{"request", served_.id}, {"error", problem("the connection was closed")}});
        const bool keep = delivered && exchange_->keep_alive();
        end_exchange();
        co_return keep;
    }

    // Calls the endpoint here; if the request has a body, on one of the threads that read bodies.
    void call(const Route& route) {
        if (request_.body.empty()) return call_endpoint(route, request_, exchange_);
        // All that is needed, as the connection may end meanwhile.
        struct Call {
            std::shared_ptr<const Router> router;  // owns the route
            const Route& route;
            HttpRequest request;
            std::shared_ptr<Exchange> exchange;
            std::shared_ptr<HeldBytes> held;
            std::size_t limit;  // of the decoded body
        };
        const bool plain = is_plain(request_.header("content-encoding"));
        if (plain) exchange_->note_request(request_.body);
        // Nobody knows how much is in a body that is compressed.
        const std::size_t bytes = plain ? request_.body.size() : RequestWorkers::kSmall + 1;
        auto one =
            std::make_shared<Call>(Call{router_, route, std::move(request_), exchange_, held_, limits_.body});
        const bool taken = context_->workers.post(bytes, [one, plain] {
            if (one->exchange->client_gone()) return;
            if (!plain && !decode_body(one->request, *one->exchange, *one->held, one->limit)) return;
            if (!plain) one->exchange->note_request(one->request.body);
            call_endpoint(one->route, one->request, one->exchange);
        });
        if (!taken)
            refuse(*one->exchange, one->request.path,
                   {503,
                    "Too many requests wait to be read; try again later.",
                    "overloaded",
                    {{"Retry-After", "1"}}});
    }

    // Puts what the client has compressed in its place, within the same limits. False: there is nobody to be
    // answered any more, by others than this.
    static bool decode_body(HttpRequest& request, Exchange& exchange, HeldBytes& held, std::size_t limit) {
        const auto encoding = request.header("content-encoding");
        const std::size_t received = request.body.size();
        std::string decoded;
        try {
            const auto decoder = make_body_decoder(encoding, std::move(request.body));
            for (bool more = true; more;) {
                if (exchange.client_gone()) return false;
                more = decoder->step(decoded);
                if (decoded.size() > limit) {
                    refuse(exchange, request.path,
                           {413, fmt::format("The body, decoded, is larger than {} bytes.", limit), {}, {}});
                    return false;
                }
                if (!held.grow(std::max(received, decoded.size()))) {
                    refuse(exchange, request.path, no_memory());
                    return false;
                }
            }
        } catch (const Error& error) {
            refuse(exchange, request.path,
                   {400, fmt::format("Content-Encoding {}: {}.", encoding, error.what()), {}, {}});
            return false;
        } catch (const std::exception&) {  // out of memory
            refuse(exchange, request.path, no_memory());
            return false;
        }
        request.body = std::move(decoded);
        return true;
    }

    static void refuse(Exchange& exchange, const std::string& path, const Refusal& refusal) {
        exchange.respond(refusal.status, "application/json",
                         error_body(path, refusal.status, refusal.message, refusal.code), refusal.headers);
    }

    static void call_endpoint(const Route& route, const HttpRequest& request,
                              const std::shared_ptr<Exchange>& exchange) {
        auto error = [&](int status, std::string_view text) {
            exchange->respond(status, "application/json", error_body(request.path, status, text), {});
            exchange->abandon();  // a stream that had begun breaks off
        };
        // outlives the call: dropped by an exception it would answer first
        auto writer = Exchange::writer(exchange);
        try {
            route.endpoint(request, writer);
        } catch (...) {
            const auto told =
                client_error(std::current_exception(), Fault::request, writer->log(), writer->request_id());
            error(told.status, told.what());
        }
    }

    // Whether there is nobody to send to. Asked whenever the coroutine is woken.
    bool client_gone() {
        wire_->read_ahead();
        if (wire_->broken()) exchange_->client_left();
        if (wire_->ended() && !std::exchange(probed_, true)) {
            exchange_->probe();
            wire_->notice_reset();
        }
        return wire_->aborted() || exchange_->client_gone();
    }

    net::awaitable<bool> deliver() {
        while (true) {
            const bool gone = client_gone();
            const bool complete = exchange_->take(wire_->output);
            if (!wire_->output.empty()) {
                if (!co_await wire_->send([this] { return client_gone(); })) co_return false;
                continue;
            }
            if (complete) co_return true;
            if (gone) co_return false;
            wire_->clear_deadline();
            co_await wire_->sleep();
        }
    }

    void end_exchange() {
        exchange_->detach();
        auto result = exchange_->result();
        exchange_.reset();
        held_.reset();
        served_.status = result.status;
        served_.complete = result.complete && !wire_->aborted() && !wire_->unsent();
        served_.annotation = std::move(result.annotation);
        served_.request_text = std::move(result.request_text);
        served_.response_text = std::move(result.text);
        served_.seconds = std::chrono::duration<double>(Clock::now() - start_).count();
        log().debug("a request was answered", {{"request", served_.id},
                                               {"key", served_.key_name},
                                               {"route", served_.route},
                                               {"status", served_.status},
                                               {"complete", served_.complete},
                                               {"seconds", served_.seconds}});
        if (context_->served.wanted()) context_->served.push(std::move(served_));
    }

    const std::shared_ptr<ConnectionContext> context_;
    const HttpLimits& limits_;
    const std::shared_ptr<Wire> wire_;
    const std::string local_address_;
    const bool refuse_;

    bool first_request_ = true, head_known_ = false;
    bool probed_ = false;  // the client has closed its side; whether it still listens is being found out
    Clock::time_point start_ = Clock::now();
    std::shared_ptr<HeldBytes> held_;       // of context_->bodies, by the request
    std::shared_ptr<const Router> router_;  // of the request
    HttpRequest request_;
    Served served_;
    std::string cors_headers_;
    std::shared_ptr<Exchange> exchange_;  // while a request is being answered
};

}  // namespace

std::shared_ptr<Connection> make_connection(net::ip::tcp::socket socket,
                                            std::shared_ptr<ConnectionContext> context, bool refuse) {
    auto wrapped = make_socket(std::move(socket), context->tls.get());
    return std::make_shared<HttpConnection>(std::move(wrapped), std::move(context), refuse);
}

}  // namespace cachalot::server
