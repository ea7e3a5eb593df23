#include "file/output_target.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <string>
#include <system_error>

#include "base/error.h"
#include "base/unique_fd.h"

namespace cachalot {
namespace {

namespace fs = std::filesystem;

constexpr int kMostLinks = 40;

std::string reason() { return std::generic_category().message(errno); }

bool may(const fs::path& path, int how) { return ::faccessat(AT_FDCWD, path.c_str(), how, AT_EACCESS) == 0; }

fs::path folder_of(const fs::path& path) {
    const auto folder = path.parent_path();
    return folder.empty() ? "." : folder;
}

// The number of the descriptor that /dev/fd/N or /proc/self/fd/N stands for. What it is open for may have no
// name, and opening a file by this name would begin at its start.
std::optional<int> descriptor_named(const fs::path& path) {
    const auto folder = path.parent_path();
    if (folder != "/dev/fd" && folder != "/proc/self/fd" && folder != fmt::format("/proc/{}/fd", ::getpid()))
        return {};
    const std::string name = path.filename().string();
    int number = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
    if (error != std::errc() || end != name.data() + name.size() || number < 0) return {};
    return number;
}

// What the path leads to; nothing if it does not exist.
struct Found {
    fs::path path;
    std::optional<struct stat> status;
    std::optional<int> descriptor;
};

Found follow(const fs::path& path) {
    fs::path at = path;
    for (int links = 0; links <= kMostLinks; ++links) {
        if (const auto number = descriptor_named(at)) return {at, {}, number};
        struct stat status = {};
        if (::lstat(at.c_str(), &status) != 0) {
            if (errno != ENOENT) fail("{}: cannot create: {}", path.string(), reason());
            return {at, {}, {}};
        }
        if (!S_ISLNK(status.st_mode)) return {at, status, {}};
        std::error_code error;
        at = at.parent_path() / fs::read_symlink(at, error);
        if (error) fail("{}: cannot follow the link: {}", path.string(), error.message());
    }
    fail("{}: cannot follow the link: there are more than {}, one after the other", path.string(),
         kMostLinks);
}

void check_folder(const fs::path& path, const fs::path& at) {
    const fs::path folder = folder_of(at);
    struct stat status = {};
    if (::stat(folder.c_str(), &status) != 0)
        fail("{}: cannot create: the folder {} {}", path.string(), folder.string(),
             errno == ENOENT ? "does not exist; make it first" : "cannot be used: " + reason());
    if (!S_ISDIR(status.st_mode)) fail("{}: cannot create: {} is no folder", path.string(), folder.string());
    if (!may(folder, W_OK | X_OK))
        fail("{}: cannot create: in the folder {} nothing may be written ({})", path.string(),
             folder.string(), reason());
}

// Devices answer an empty write as they would any other: /dev/full has no room.
bool takes_nothing(int device) { return ::write(device, "", 0) < 0; }

void check_device(const fs::path& path, const fs::path& at) {
    const UniqueFd device(::open(at.c_str(), O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
    if (!device || takes_nothing(device.get()))
        fail("{}: nothing can be written there: {}", path.string(), reason());
}

}  // namespace

OutputTarget OutputTarget::of(const fs::path& path) {
    if (path.empty()) fail("a file to write has no name");
    const Found found = follow(path);
    if (found.descriptor) {
        const int flags = ::fcntl(*found.descriptor, F_GETFL);
        if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY) fail("{}: is not open for writing", path.string());
        struct stat status = {};
        const bool device = ::fstat(*found.descriptor, &status) == 0 && S_ISCHR(status.st_mode);
        if (device && takes_nothing(*found.descriptor))
            fail("{}: nothing can be written there: {}", path.string(), reason());
        return {found.path, true, *found.descriptor, {}};
    }
    if (!found.status) {
        if (!found.path.has_filename())
            fail("{}: is the name of a folder; name a file to write", path.string());
        check_folder(path, found.path);
        return {found.path, false, -1, {}};
    }
    const mode_t mode = found.status->st_mode;
    if (S_ISDIR(mode)) fail("{}: is a folder; name a file to write", path.string());
    if (S_ISSOCK(mode)) fail("{}: is a socket; name a file to write", path.string());
    if (!may(found.path, W_OK)) fail("{}: may not be written: {}", path.string(), reason());
    if (S_ISCHR(mode)) check_device(path, found.path);
    if (!S_ISREG(mode)) return {found.path, true, -1, {}};
    check_folder(path, found.path);
    return {found.path, false, -1, mode & 0777};
}

void check_space(const fs::path& path, std::uintmax_t bytes) {
    std::error_code error;
    const auto space = fs::space(folder_of(path), error);
    if (!error && space.available < bytes)
        fail("{}: no space for {} bytes, {} are free", path.string(), bytes, space.available);
}

// The umask can be asked for without setting it, which would be seen by other threads, in one place only.
mode_t new_file_mode() {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word)
        if (word == "Umask:" && status >> word)
            return 0666 & ~static_cast<mode_t>(std::strtoul(word.c_str(), nullptr, 8));
    const mode_t mask = ::umask(077);
    ::umask(mask);
    return 0666 & ~mask;
}

}  // namespace cachalot
