#include "model/background_writer.h"

namespace cachalot {

BackgroundWriter::BackgroundWriter(GgufWriter& writer, std::uint64_t checkpoint_bytes)
    : writer_(writer), checkpoint_bytes_(checkpoint_bytes), thread_([this] { run(); }) {}

BackgroundWriter::~BackgroundWriter() {
    {
        std::lock_guard lock(mutex_);
        stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
}

void BackgroundWriter::run() {
    std::uint64_t since = 0;
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait(lock, [&] { return stop_ || !pieces_.empty(); });
        if (stop_) return;
        Piece& piece = pieces_.front();  // stays where it is while others are put behind it
        lock.unlock();
        try {
            writer_.append(piece.name, piece.bytes);
            since += piece.bytes.size();
            if (since >= checkpoint_bytes_) writer_.checkpoint(), since = 0;
        } catch (...) {
            lock.lock();
            error_ = std::current_exception();
            changed_.notify_all();
            return;
        }
        lock.lock();
        spare_.push_back(std::move(piece.bytes));
        pieces_.pop_front();
        changed_.notify_all();
    }
}

void BackgroundWriter::rethrow() {
    if (error_) std::rethrow_exception(error_);
}

std::vector<std::byte> BackgroundWriter::buffer() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || pieces_.size() < kPieces; });
    rethrow();
    if (spare_.empty()) return {};
    auto bytes = std::move(spare_.back());
    spare_.pop_back();
    return bytes;
}

void BackgroundWriter::append(const std::string& name, std::vector<std::byte> bytes) {
    {
        std::lock_guard lock(mutex_);
        rethrow();
        pieces_.push_back({name, std::move(bytes)});
    }
    changed_.notify_all();
}

void BackgroundWriter::drain() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return error_ || pieces_.empty(); });
    rethrow();
}

}  // namespace cachalot
