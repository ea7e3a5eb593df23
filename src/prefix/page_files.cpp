#include "prefix/page_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <optional>
#include <system_error>

namespace cachalot {
namespace {

constexpr std::array<char, 8> kMagic = {'C', 'A', 'C', 'H', 'K', 'V', '0', '1'};
constexpr std::string_view kPrefix = "pages-";

struct Header {
    std::array<char, 8> magic;
    ChainKey name;
    std::uint64_t size;  // of the payload
    ChainKey hash;
};
static_assert(sizeof(Header) == PageFiles::kHeader);

// The number in "pages-000012".
std::optional<std::int64_t> number_of(const std::string& name) {
    std::int64_t number = 0;
    if (!name.starts_with(kPrefix)) return std::nullopt;
    auto end = name.data() + name.size();
    auto [stop, error] = std::from_chars(name.data() + kPrefix.size(), end, number);
    if (error != std::errc() || stop != end || number < 1) return std::nullopt;
    return number;
}

}  // namespace

ssize_t FileCalls::pread(int file, void* data, std::size_t size, off_t offset) {
    return ::pread(file, data, size, offset);
}
ssize_t FileCalls::pwrite(int file, const void* data, std::size_t size, off_t offset) {
    return ::pwrite(file, data, size, offset);
}
int FileCalls::fdatasync(int file) {
#ifdef __APPLE__
    return ::fsync(file);
#else
    return ::fdatasync(file);
#endif
}
int FileCalls::ftruncate(int file, off_t size) { return ::ftruncate(file, size); }
int FileCalls::punch([[maybe_unused]] int file, [[maybe_unused]] off_t offset, [[maybe_unused]] off_t size) {
#ifdef __linux__
    return ::fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, size);
#else
    errno = ENOTSUP;
    return -1;
#endif
}

PageFiles::PageFiles(std::filesystem::path folder, FileCalls& calls, std::int64_t file_limit)
    : folder_(std::move(folder)), calls_(calls), file_limit_(file_limit) {}

std::filesystem::path PageFiles::path(std::int64_t file) const {
    return folder_ / fmt::format("{}{:06}", kPrefix, file);
}

void PageFiles::fail_writing(const char* what) const {
    const int code = errno;
    throw WriteError(code, fmt::format("{}: {}: {}", path(current_).string(), what,
                                       std::generic_category().message(code)));
}

void PageFiles::remove_but(const std::filesystem::path& folder,
                           const std::map<std::int64_t, std::int64_t>& kept) {
    std::vector<std::filesystem::path> gone;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        auto number = number_of(entry.path().filename().string());
        if (number && !kept.contains(*number)) gone.push_back(entry.path());
    }
    for (const auto& path : gone) std::filesystem::remove(path);
}

void PageFiles::keep_only(const std::map<std::int64_t, std::int64_t>& ends) {
    remove_but(folder_, ends);
    auto last = ends.empty() ? std::pair<const std::int64_t, std::int64_t>(1, 0) : *ends.rbegin();
    start_file(last.first, last.second);
}

void PageFiles::start_file(std::int64_t file, std::int64_t end) {
    current_ = file;
    end_ = synced_ = end;
    descriptor_.reset(::open(path(file).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!descriptor_) fail_writing("cannot open");
    if (calls_.ftruncate(descriptor_.get(), end) != 0) fail_writing("cannot truncate");
    // The name of a new file is durable once the folder is. Some file systems refuse this; there is nothing
    // to do then.
    const UniqueFd folder(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder) (void)::fsync(folder.get());
}

Place PageFiles::append(const ChainKey& name, std::span<const std::byte> payload) {
    if (!descriptor_ || (end_ == synced_ && end_ >= file_limit_)) start_file(current_ + 1, 0);
    const Place place{current_, end_, kHeader + static_cast<std::int64_t>(payload.size())};
    const Header header{kMagic, name, payload.size(), hash128(payload)};
    write(std::as_bytes(std::span(&header, 1)));
    write(payload);
    return place;
}

void PageFiles::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto written = calls_.pwrite(descriptor_.get(), bytes.data(), bytes.size(), end_);
        if (written < 0 && errno == EINTR) continue;
        if (written == 0) errno = EIO;
        if (written <= 0) fail_writing("cannot write");
        end_ += written;
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void PageFiles::sync() {
    if (end_ == synced_) return;
    if (calls_.fdatasync(descriptor_.get()) != 0) fail_writing("cannot write to the disk");
    synced_ = end_;
}

void PageFiles::discard() {
    // After an error nobody knows what is in the file beyond: the next record begins a file of its own.
    if (!descriptor_) return;
    (void)calls_.ftruncate(descriptor_.get(), synced_);
    descriptor_.reset();
}

void PageFiles::free(std::int64_t file, std::int64_t begin, std::int64_t end) {
    const UniqueFd open(::open(path(file).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
    if (open) (void)calls_.punch(open.get(), begin, end - begin);
}

void PageFiles::remove(std::int64_t file) {
    std::error_code ignored;
    if (file == current_)
        free(file, 0, synced_);
    else
        std::filesystem::remove(path(file), ignored);
}

std::string PageFiles::read(const Place& place, const ChainKey& name, std::span<std::byte> payload) const {
    const auto wrong = [&](std::string_view what) {
        return fmt::format("{}: the record at offset {} {}", path(place.file).string(), place.offset, what);
    };
    if (place.offset < 0 || place.size != kHeader + static_cast<std::int64_t>(payload.size()))
        return wrong("is of another size than the index says");
    const UniqueFd file(::open(path(place.file).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) return wrong("cannot be opened: " + std::generic_category().message(errno));
    const auto end = ::lseek(file.get(), 0, SEEK_END);
    if (end < place.size || end - place.size < place.offset) return wrong("is cut off");

    // 0, or why it is not there.
    auto fill = [&](std::span<std::byte> to, std::int64_t offset) {
        while (!to.empty()) {
            const auto got = calls_.pread(file.get(), to.data(), to.size(), offset);
            if (got < 0 && errno == EINTR) continue;
            if (got <= 0) return got < 0 ? errno : EIO;
            to = to.subspan(static_cast<std::size_t>(got));
            offset += got;
        }
        return 0;
    };
    Header header;
    int error = fill(std::as_writable_bytes(std::span(&header, 1)), place.offset);
    if (error == 0) {
        if (header.magic != kMagic || header.name != name || header.size != payload.size())
            return wrong("is another one");
        error = fill(payload, place.offset + kHeader);
    }
    if (error != 0) return wrong("cannot be read: " + std::generic_category().message(error));
    return hash128(payload) == header.hash ? std::string() : wrong("is damaged");
}

}  // namespace cachalot
