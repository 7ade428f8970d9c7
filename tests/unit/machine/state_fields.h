// Walks through every field of a machine's state. Each struct is taken apart by a structured
// binding that names all its members: one more of them does not compile before it is walked through
// too.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "vmm/machine/machine_state.h"

namespace ftvmm::machine::testing {

// What a visitor sees of a state: numbers, and the sizes of lists.
class Flat {
  public:
    template <class T>
    void number(T& value) {
        values.push_back(static_cast<std::uint64_t>(value));
    }
    template <class T>
    void optional(std::optional<T>& value) {
        values.push_back(value.has_value() ? 1 : 0);
    }
    template <class List>
    void list(List& list) {
        values.push_back(list.size());
    }
    std::vector<std::uint64_t> values;
};

// Changes the field number `at`, to another value that its type and the codec's ranges allow.
class Change {
  public:
    explicit Change(std::size_t at) : at_(at) {}

    void number(bool& value) {
        if (is_it()) value = !value;
    }
    // Every second bit, the highest and the lowest among them: none gets lost on its way.
    template <class T>
    requires std::is_integral_v<T>
    void number(T& value) {
        constexpr std::uint64_t kBits = 0xa5a5'a5a5'a5a5'a5a5;
        if (is_it()) value = static_cast<T>(value ^ static_cast<T>(kBits));
    }
    void number(std::byte& value) {
        if (is_it()) value ^= std::byte{0xa5};
    }
    void number(dev::Pic8259::Step& value) { next(value, 0, 3); }
    void number(dev::Pit8254::Access& value) { next(value, 1, 3); }
    void number(virtio::BlkRequest::Kind& value) { next(value, 0, 4); }
    void number(boot::CpuModel& value) { next(value, 0, 1); }
    template <class T>
    void optional(std::optional<T>& value) {
        if (!is_it()) return;
        value = value ? std::nullopt : std::optional<T>(T{});
    }
    template <class List>
    void list(List& list) {
        if (is_it()) list.emplace_back();
    }
    void list(std::string& text) {
        if (is_it()) text.push_back('\xff');
    }
    // Whether there was such a field.
    [[nodiscard]] bool is_done() const { return seen_ > at_; }

  private:
    bool is_it() { return seen_++ == at_; }
    template <class Enum>
    void next(Enum& value, unsigned first, unsigned last) {
        const auto now = static_cast<unsigned>(value);
        if (is_it()) value = static_cast<Enum>(now == last ? first : now + 1);
    }
    std::size_t at_;
    std::size_t seen_ = 0;
};

template <class V, class T>
requires(std::is_integral_v<T> || std::is_enum_v<T>) void walk(V& v, T& value) {
    v.number(value);
}
template <class V>
void walk(V& v, Gpa& address) {
    std::uint64_t value = address.value();
    v.number(value);
    address = Gpa(value);
}
template <class V>
void walk(V& v, std::string& text) {
    v.list(text);
    for (char& letter : text)
        v.number(letter);
}
template <class V, class T>
void walk(V& v, std::optional<T>& value) {
    v.optional(value);
    if (value) walk(v, *value);
}
template <class V, class T, std::size_t N>
void walk(V& v, std::array<T, N>& values) {
    for (T& value : values)
        walk(v, value);
}
template <class V, class T, std::size_t N>
void walk(V& v, T (&values)[N]) {
    for (T& value : values)
        walk(v, value);
}
template <class V, class T>
void walk(V& v, std::vector<T>& values) {
    v.list(values);
    for (T& value : values)
        walk(v, value);
}

template <class V>
void walk(V& v, SharedBytes& bytes) {
    std::vector<std::byte> changed(bytes.begin(), bytes.end());
    walk(v, changed);
    bytes = SharedBytes::copy_of(changed);
}

template <class V, class... Fields>
void walk_all(V& v, Fields&... fields) {
    (walk(v, fields), ...);
}

// NOLINTNEXTLINE(cppcoreguidelines-macro-usage): a binding's names can not be a parameter pack.
#define FTVMM_FIELDS(Struct, ...) \
    template <class V>            \
    void walk(V& v, Struct& it) { \
        auto& [__VA_ARGS__] = it; \
        walk_all(v, __VA_ARGS__); \
    }

FTVMM_FIELDS(dev::Pic8259::Chip, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p)
FTVMM_FIELDS(dev::Pic8259::State, a)
FTVMM_FIELDS(dev::X2Apic::State, a, b, c, d, e, f, g, h, i, j, k, l, m)
FTVMM_FIELDS(Interrupts::State, a, b, c, d)
FTVMM_FIELDS(dev::Pit8254::Channel, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o)
FTVMM_FIELDS(dev::Pit8254::State, a, b, c)
FTVMM_FIELDS(dev::RtcCmos::State, a, b, c, d, e)
FTVMM_FIELDS(dev::Serial16550::State, a, b, c, d, e, f, g, h, i, j, k)
FTVMM_FIELDS(dev::AcpiPm::State, a, b, c, d)

FTVMM_FIELDS(pci::ConfigSpace::State, a)
FTVMM_FIELDS(pci::Bus::State, a, b)
FTVMM_FIELDS(pci::Msix::Entry, a, b, c, d)
FTVMM_FIELDS(pci::Msix::State, a)
FTVMM_FIELDS(virtio::QueueFeatures, a, b)
FTVMM_FIELDS(virtio::Queue::State, a, b, c, d, e, f, g, h, i, j)
FTVMM_FIELDS(virtio::Transport::State, a, b, c, d, e, f, g, h, i, j, k, l, m)
FTVMM_FIELDS(virtio::Range, a, b)
FTVMM_FIELDS(virtio::BlkRequest, a, b, c, d, e)
FTVMM_FIELDS(virtio::InFlight<virtio::BlkRequest>, a, b, c)
FTVMM_FIELDS(virtio::Blk::State, a, b, c)
FTVMM_FIELDS(virtio::RngRequest, a, b)
FTVMM_FIELDS(virtio::InFlight<virtio::RngRequest>, a, b, c)
FTVMM_FIELDS(virtio::Rng::State, a, b, c)
FTVMM_FIELDS(TransmitHold::State, a, b, c)
FTVMM_FIELDS(VirtioDevices::State, a, b, c, d, e, f, g, h)
FTVMM_FIELDS(PvClock::State, a, b, c, d, e)
FTVMM_FIELDS(Platform::State, a, b, c, d, e, f, g, h, i)

FTVMM_FIELDS(kvm_regs, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)
template <class V>
void walk(V& v, kvm_segment& segment) {
    auto& [a, b, c, d, e, f, g, h, i, j, k, l, padding] = segment;
    walk_all(v, a, b, c, d, e, f, g, h, i, j, k, l);
}
template <class V>
void walk(V& v, kvm_dtable& table) {
    auto& [base, limit, padding] = table;
    walk_all(v, base, limit);
}
FTVMM_FIELDS(kvm_sregs, a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r)
template <class V>
void walk(V& v, kvm_debugregs& debug) {
    auto& [db, dr6, dr7, flags, reserved] = debug;
    walk_all(v, db, dr6, dr7, flags);
}
template <class V>
void walk(V& v, kvm_vcpu_events& events) {
    auto& [exception, interrupt, nmi, sipi, flags, smi, triple_fault, reserved, has_payload,
           payload] = events;
    walk_all(v, sipi, flags, has_payload, payload, triple_fault.pending);
    {
        auto& [injected, nr, has_error_code, pending, error_code] = exception;
        walk_all(v, injected, nr, has_error_code, pending, error_code);
    }
    {
        auto& [injected, nr, soft, shadow] = interrupt;
        walk_all(v, injected, nr, soft, shadow);
    }
    {
        auto& [injected, pending, masked, pad] = nmi;
        walk_all(v, injected, pending, masked);
    }
    auto& [smm, pending, inside_nmi, latched_init] = smi;
    walk_all(v, smm, pending, inside_nmi, latched_init);
}
template <class V>
void walk(V& v, CpuState& cpu) {
    auto& [regs, sregs, xsave, xcr0, debug, events, msrs] = cpu;
    walk_all(v, regs, sregs, xsave.region, xcr0, debug, events, msrs);
}

FTVMM_FIELDS(boot::CpuidLeaf, a, b, c, d, e, f, g)
FTVMM_FIELDS(virtio::BlkConfig, a, b, c)
FTVMM_FIELDS(virtio::NetConfig, a)
FTVMM_FIELDS(VirtioConfig, a, b)
FTVMM_FIELDS(MachineConfig, a, b, c)
FTVMM_FIELDS(KvmMachine::State, a, b, c, d, e, f, g, h)
FTVMM_FIELDS(MachineState, a, b, c)
#undef FTVMM_FIELDS

// All of a state as numbers: two are equal where these are.
inline std::vector<std::uint64_t> flatten(MachineState state) {
    Flat flat;
    walk(flat, state);
    return flat.values;
}

}  // namespace ftvmm::machine::testing
