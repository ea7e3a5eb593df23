#include "kernels/cuda/grids.h"

#include <vector>

#include "tensor/iq_quants.h"
#include "tensor/k_quants.h"

namespace cachalot::cuda {
namespace {

// visit(table, member) in the order in which they lie.
template <class Visit>
void each_table(const Visit& visit) {
    visit(kIq2xxsDigits, &Grids::iq2_xxs);
    visit(kIq2xsGrid, &Grids::iq2_xs);
    visit(kIq2sGrid, &Grids::iq2_s);
    visit(kIq3xxsGrid, &Grids::iq3_xxs);
    visit(kIq3sGrid, &Grids::iq3_s);
    visit(kIq1Grid, &Grids::iq1);
}

}  // namespace

std::span<const std::uint16_t> grid_values() {
    static const std::vector<std::uint16_t> all = [] {
        std::vector<std::uint16_t> values;
        each_table([&](const auto& table, auto) { values.insert(values.end(), table.begin(), table.end()); });
        return values;
    }();
    return all;
}

Grids grids_at(const std::uint16_t* values) {
    Grids grids;
    each_table([&](const auto& table, auto member) {
        grids.*member = values;
        values += table.size();
    });
    return grids;
}

}  // namespace cachalot::cuda
