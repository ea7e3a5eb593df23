#include "server/http/wire.h"

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace cachalot::server {

namespace net = boost::asio;
using boost::system::error_code;

Wire::Wire(std::unique_ptr<Socket> socket, const HttpLimits& limits, Pace& large_requests)
    : socket_(std::move(socket)),
      timer_(socket_->tcp().get_executor()),
      limits_(limits),
      large_requests_(large_requests) {
    error_code ignored;
    socket_->tcp().set_option(net::ip::tcp::no_delay(true), ignored);
}

std::string Wire::local_address() {
    error_code ignored;
    auto local = socket_->tcp().local_endpoint(ignored).address();
    if (local.is_v6() && local.to_v6().is_v4_mapped())
        local = net::ip::make_address_v4(net::ip::v4_mapped, local.to_v6());
    return local.to_string();
}

// ---- waiting ----

void Wire::set_deadline(Clock::duration from_now) {
    deadline_ = Clock::now() + from_now;
    late_ = false;
}

void Wire::clear_deadline() {
    deadline_ = Clock::time_point::max();
    late_ = false;
}

net::awaitable<void> Wire::sleep() {
    if (Clock::now() >= deadline_) {
        late_ = true;
        co_return;
    }
    co_await sleep_until(deadline_);
}

net::awaitable<void> Wire::sleep_until(Clock::time_point end) {
    error_code ignored;
    timer_.expires_at(end);
    co_await timer_.async_wait(net::redirect_error(net::use_awaitable, ignored));
}

net::awaitable<void> Wire::keep_pace() {
    if (unpaced_ < kPaceStep) co_return;
    const auto begin = Clock::now(), end = begin + large_requests_.after(unpaced_);
    unpaced_ = 0;
    while (Clock::now() < end && !aborted_) co_await sleep_until(end);
    if (deadline_ != Clock::time_point::max()) deadline_ += Clock::now() - begin;
}

void Wire::abort() {
    aborted_ = true;
    wake();
}

Socket::Handler Wire::record(std::shared_ptr<Outcome> outcome) {
    return [outcome, self = shared_from_this()](error_code error, std::size_t) {
        *outcome = {true, error};
        self->wake();
    };
}

// ---- the beginning and the end ----

net::awaitable<bool> Wire::handshake() {
    auto outcome = std::make_shared<Outcome>();
    socket_->async_handshake(record(outcome));
    set_deadline(limits_.header_time);
    while (!outcome->done && !late_ && !aborted_) co_await sleep();
    refused_ = !outcome->done || outcome->error;
    error_ = outcome->error;
    co_return !refused_;
}

net::awaitable<void> Wire::close_gently() {
    if (!aborted_ && !broken_ && !writing_ && !ended_ && !refused_) {
        auto outcome = std::make_shared<Outcome>();
        socket_->async_shutdown(record(outcome));
        set_deadline(limits_.linger_time);
        while (!outcome->done && !late_ && !aborted_) co_await sleep();
        Read read = Read::data;
        while (read == Read::data && !outcome->error) {
            input.clear();
            read = co_await more_input();
        }
    }
    close();
}

void Wire::close() {
    error_code ignored;
    socket_->tcp().close(ignored);
}

// ---- input ----

void Wire::read_ahead() {
    if (reading_ || ended_ || input.size() >= limits_.header + kReadSize) return;
    reading_ = true;
    socket_->async_read_some(net::buffer(read_buffer_),
                             [self = shared_from_this()](error_code error, std::size_t size) {
                                 self->reading_ = false;
                                 if (error) self->ended_ = true;
                                 if (error && error != net::error::eof) self->fail(error);
                                 if (!error) self->input.append(self->read_buffer_.data(), size);
                                 self->received_ += size;
                                 if (self->received_ > kUnpaced) self->unpaced_ += size;
                                 self->wake();
                             });
}

void Wire::notice_reset() {
    if (broken_) return;
    socket_->tcp().async_wait(net::ip::tcp::socket::wait_error, [self = shared_from_this()](error_code) {
        self->broken_ = true;
        self->wake();
    });
}

net::awaitable<Wire::Read> Wire::more_input(Condition stop) {
    co_await keep_pace();
    const std::size_t before = input.size();
    read_ahead();
    while (input.size() == before && !ended_ && !late_ && !aborted_ && !(stop && stop())) co_await sleep();
    if (input.size() != before) co_return Read::data;
    co_return late_ && !ended_ && !aborted_ ? Read::late : Read::ended;
}

// ---- output ----

net::awaitable<bool> Wire::send(Condition give_up) {
    std::size_t sent = 0;
    while (sent < output.size()) {
        writing_ = true;
        socket_->async_write_some(net::buffer(output.data() + sent, output.size() - sent),
                                  [self = shared_from_this()](error_code error, std::size_t size) {
                                      self->writing_ = false;
                                      self->written_ = size;
                                      if (error) self->fail(error);
                                      self->wake();
                                  });
        set_deadline(limits_.write_time);
        while (writing_ && !late_ && !aborted_ && !(give_up && give_up())) co_await sleep();
        if (writing_ || broken_) co_return false;
        sent += written_;
    }
    output.clear();
    co_return true;
}

}  // namespace cachalot::server
