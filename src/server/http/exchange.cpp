#include "server/http/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "server/http/error.h"

namespace cachalot::server {
namespace {

constexpr std::string_view kVersion = "HTTP/1.1 ";

std::string http_date() {
    std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    static constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                              "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[parts.tm_wday], parts.tm_mday,
                       kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour, parts.tm_min,
                       parts.tm_sec);
}

// A header line's part without what would end the line: an answer must not be split by something a client
// sent.
std::string one_line(std::string_view text) {
    std::string result(text);
    std::erase_if(result, [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7f; });
    return result;
}

class Writer final : public ResponseWriter {
  public:
    explicit Writer(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
    ~Writer() override { exchange_->abandon(); }
    void respond(int status, std::string_view type, std::string body, const Headers& extra) override {
        exchange_->respond(status, type, std::move(body), extra);
    }
    void start_stream(const Headers& extra) override { exchange_->start_stream(extra); }
    void write(std::string bytes) override { exchange_->write(bytes); }
    void finish() override { exchange_->finish(); }
    bool client_gone() const override { return exchange_->client_gone(); }
    std::string request_id() const override { return exchange_->options().request_id; }
    Log log() const override { return exchange_->options().log; }
    void annotate(const Annotation& annotation) override { exchange_->annotate(annotation); }

  private:
    std::shared_ptr<Exchange> exchange_;
};

}  // namespace

Exchange::Exchange(Options options, std::function<void()> wake)
    : options_(std::move(options)), wake_(std::move(wake)), keep_alive_(options_.keep_alive) {}

std::shared_ptr<ResponseWriter> Exchange::writer(std::shared_ptr<Exchange> exchange) {
    return std::make_shared<Writer>(std::move(exchange));
}

void Exchange::append_head(int status, std::string_view content_type, const ResponseWriter::Headers& extra,
                           const std::string& framing) {
    if (!std::exchange(begun_, true)) output_ += kVersion;
    output_ += fmt::format("{} {}\r\nDate: {}\r\n", status, status_text(status), http_date());
    if (!content_type.empty()) output_ += fmt::format("Content-Type: {}\r\n", one_line(content_type));
    output_ += framing;
    for (const auto& [name, value] : extra)
        output_ += fmt::format("{}: {}\r\n", one_line(name), one_line(value));
    output_ += options_.common_headers;
    if (!keep_alive())
        output_ += "Connection: close\r\n";
    else if (options_.http10)
        output_ += "Connection: keep-alive\r\n";
    output_ += "\r\n";
    result_.status = status;
}

void Exchange::respond(int status, std::string_view content_type, std::string body,
                       const ResponseWriter::Headers& extra) {
    std::lock_guard lock(mutex_);
    if (state_ != State::waiting || gone_) return;
    bool has_body = status >= 200 && status != 204 && status != 304;
    append_head(status, content_type, extra,
                has_body ? fmt::format("Content-Length: {}\r\n", body.size()) : std::string());
    if (has_body && !options_.head) output_ += body;
    remember(body);
    state_ = State::complete;
    wake();
}

void Exchange::start_stream(const ResponseWriter::Headers& extra) {
    std::lock_guard lock(mutex_);
    if (state_ != State::waiting || gone_) return;
    if (!options_.chunked) keep_alive_ = false;
    append_head(200, "text/event-stream; charset=utf-8", extra,
                std::string("Cache-Control: no-cache\r\nX-Accel-Buffering: no\r\n") +
                    (options_.chunked ? "Transfer-Encoding: chunked\r\n" : ""));
    state_ = State::streaming;
    wake();
}

void Exchange::write(std::string_view bytes) {
    std::lock_guard lock(mutex_);
    if (state_ != State::streaming || gone_ || bytes.empty()) return;  // an empty chunk would end the stream
    if (output_.size() > options_.max_unsent) {
        gone_ = true;
        output_.clear();
        woken_ = false;  // the connection, busy with what it took, may have looked before this happened
        wake();
        return;
    }
    remember(bytes);
    if (options_.head) return;
    if (options_.chunked) fmt::format_to(std::back_inserter(output_), "{:x}\r\n", bytes.size());
    output_ += bytes;
    if (options_.chunked) output_ += "\r\n";
    wake();
}

void Exchange::finish() {
    std::lock_guard lock(mutex_);
    if (state_ != State::streaming || gone_) return;
    if (options_.chunked && !options_.head) output_ += "0\r\n\r\n";
    state_ = State::complete;
    wake();
}

void Exchange::abandon() {
    {
        std::lock_guard lock(mutex_);
        if (state_ == State::complete || gone_) return;
        if (state_ == State::streaming) {  // no last chunk: the client sees that something is missing
            state_ = State::complete;
            broken_ = true;
            keep_alive_ = false;
            options_.log.warn("an answer broke off", {{"request", options_.request_id}});
            wake();
            return;
        }
    }
    options_.log.error("a request was not answered", {{"request", options_.request_id}});
    respond(500, "application/json", error_body(options_.path, 500, "The request was not answered."), {});
}

void Exchange::annotate(const Annotation& annotation) {
    std::lock_guard lock(mutex_);
    result_.annotation.model = annotation.model;
    result_.annotation.prompt_tokens += annotation.prompt_tokens;
    result_.annotation.cached_tokens += annotation.cached_tokens;
    result_.annotation.completion_tokens += annotation.completion_tokens;
}

void Exchange::note_request(std::string_view body) {
    std::lock_guard lock(mutex_);
    result_.request_text = body.substr(0, options_.keep_text);
}

void Exchange::remember(std::string_view text) {
    if (result_.text.size() < options_.keep_text)
        result_.text += text.substr(0, options_.keep_text - result_.text.size());
}

void Exchange::wake() {
    if (woken_ || !wake_) return;
    woken_ = true;
    wake_();
}

bool Exchange::take(std::string& out) {
    std::lock_guard lock(mutex_);
    woken_ = false;
    out.swap(output_);
    return state_ == State::complete;
}

void Exchange::client_left() {
    std::lock_guard lock(mutex_);
    if (state_ != State::complete) gone_ = true;
}

void Exchange::probe() {
    {
        std::lock_guard lock(mutex_);
        if (state_ == State::complete || gone_) return;
        if (state_ == State::waiting) {
            if (!std::exchange(begun_, true)) output_ += kVersion;
            wake();
            return;
        }
    }
    write(":\n\n");
}

void Exchange::detach() {
    std::lock_guard lock(mutex_);
    if (state_ != State::complete) gone_ = true;
    wake_ = nullptr;
}

Exchange::Result Exchange::result() const {
    std::lock_guard lock(mutex_);
    Result result = result_;
    result.complete = state_ == State::complete && !broken_ && !gone_;
    return result;
}

}  // namespace cachalot::server
