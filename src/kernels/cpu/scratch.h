// How much memory the operations on the CPU take for a row of a batch: the sizes with which they allocate it,
// and from which a plan is made before there is a model (engine/memory_plan.h).
#pragma once

#include <cstdint>
#include <initializer_list>

#include "kernels/cpu/cpu_options.h"
#include "kernels/cpu/table.h"

namespace cachalot::cpu {

// What products with weights of this type take their activations as, with the kernels of `table`.
Form form_of(DType type, Precision precision, const Table& table);

// Bytes of the copy of a row of `columns` activations in this form; none is made of float32.
constexpr std::int64_t rounded_bytes(Form form, std::int64_t columns) {
    switch (form) {
        case Form::int8: return columns / 32 * static_cast<std::int64_t>(sizeof(Int8Group));
        case Form::bf16: return columns * static_cast<std::int64_t>(sizeof(std::uint16_t));
        case Form::f32: break;
    }
    return 0;
}

// Of the experts of a batch. A place is a row of one of the experts that it chose, or of the shared expert.
struct ExpertScratch {
    std::int64_t places, hidden, inner;
    bool forms[3];  // that some expert's product takes

    bool needs(Form form) const { return forms[static_cast<int>(form)]; }
    // Floats. The inputs are gathered as such only where an expert needs floats.
    std::int64_t inputs() const { return needs(Form::f32) ? places * hidden : 0; }
    std::int64_t gates_and_ups() const { return 2 * places * inner; }
    std::int64_t results() const { return places * hidden; }

    std::int64_t bytes() const {
        std::int64_t bytes = 4 * (inputs() + gates_and_ups() + results());
        for (const Form form : {Form::int8, Form::bf16})
            if (needs(form)) bytes += places * (rounded_bytes(form, hidden) + rounded_bytes(form, inner));
        return bytes;
    }
};

}  // namespace cachalot::cpu
