#include "server/http/client.h"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <utility>

#include "base/error.h"

namespace cachalot::server {
namespace {

namespace net = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using net::ip::tcp;

constexpr std::uint64_t kMaxBody = 1 << 20;

http::request<http::empty_body> make_request(const std::string& host, std::uint16_t port,
                                             std::string_view path, const std::string& key) {
    http::request<http::empty_body> request(http::verb::get, {path.data(), path.size()}, 11);
    bool v6 = host.find(':') != std::string::npos;
    request.set(http::field::host, fmt::format("{}{}{}:{}", v6 ? "[" : "", host, v6 ? "]" : "", port));
    request.set(http::field::connection, "close");
    if (!key.empty()) request.set(http::field::authorization, "Bearer " + key);
    return request;
}

// A coroutine although nothing else happens meanwhile: only asynchronous calls of Beast keep to a time limit.
net::awaitable<HttpAnswer> exchange(beast::tcp_stream& stream, const tcp::resolver::results_type& addresses,
                                    const http::request<http::empty_body>& request,
                                    std::chrono::milliseconds timeout) {
    stream.expires_after(timeout);
    co_await stream.async_connect(addresses, net::use_awaitable);
    co_await http::async_write(stream, request, net::use_awaitable);
    beast::flat_buffer buffer;
    http::response_parser<http::string_body> parser;
    parser.body_limit(kMaxBody);
    co_await http::async_read(stream, buffer, parser, net::use_awaitable);
    co_return HttpAnswer{static_cast<int>(parser.get().result_int()), std::move(parser.get().body())};
}

// Nobody listens, or whoever did ended before it answered.
bool nobody_there(const boost::system::error_code& code) {
    return code == net::error::connection_refused || code == net::error::connection_reset ||
           code == net::error::broken_pipe || code == net::error::eof || code == http::error::end_of_stream;
}

}  // namespace

std::optional<HttpAnswer> http_get(const std::string& host, std::uint16_t port, std::string_view path,
                                   const std::string& key, std::chrono::milliseconds timeout) {
    net::io_context io;
    boost::system::error_code error;
    auto addresses = tcp::resolver(io).resolve(host, std::to_string(port), error);
    if (error) fail("{}: {}", host, error.message());

    beast::tcp_stream stream(io);
    const auto request = make_request(host, port, path, key);
    std::exception_ptr failure;
    HttpAnswer answer;
    net::co_spawn(io, exchange(stream, addresses, request, timeout),
                  [&](std::exception_ptr thrown, HttpAnswer got) {
                      failure = std::move(thrown);
                      answer = std::move(got);
                  });
    io.run();
    if (!failure) return answer;
    try {
        std::rethrow_exception(failure);
    } catch (const boost::system::system_error& e) {
        if (nobody_there(e.code())) return std::nullopt;
        fail("http://{}:{}{}: {}", host, port, path, e.code().message());
    }
}

std::uint16_t free_port() {
    net::io_context io;
    tcp::acceptor acceptor(io, {net::ip::address_v4::loopback(), 0});
    return acceptor.local_endpoint().port();
}

}  // namespace cachalot::server
