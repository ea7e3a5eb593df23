// Cores that this process may use, which under a container or taskset is fewer than the machine has. At least
// 1.
#pragma once

namespace cachalot {

int available_cores();

}  // namespace cachalot
