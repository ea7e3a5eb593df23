#include "base/unique_fd.h"

#include <cerrno>

namespace cachalot {

// close() is not asked again when it fails: on Linux the descriptor is free all the same, and may be somebody
// else's.
void UniqueFd::reset(int descriptor) noexcept {
    const int was = std::exchange(descriptor_, descriptor);
    if (was < 0) return;
    const int error = errno;
    ::close(was);
    errno = error;
}

}  // namespace cachalot
