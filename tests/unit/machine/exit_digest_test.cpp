#include "vmm/machine/exit_digest.h"

#include <array>
#include <set>
#include <vector>

#include <catch2/catch.hpp>

namespace ftvmm::machine {
namespace {

using namespace replay::input;

// A guest that was given `inputs`, and then halts.
std::uint64_t digest_of(const std::vector<replay::Input>& inputs) {
    ExitDigest digest(7, 0);
    for (const auto& input : inputs)
        digest.add_input(input);
    digest.add(kvm::exit::Hlt{}, kvm_regs{});
    return digest.value();
}

Time time_of(std::int64_t ns) {
    return {GuestTime(std::chrono::nanoseconds(ns))};
}

}  // namespace

TEST_CASE("Each bit of what a guest is given makes another digest of its next exit") {
    std::array<std::byte, 3> bytes{};
    std::set<std::uint64_t> found;
    std::size_t count = 0;
    const auto add = [&](const std::vector<replay::Input>& inputs) {
        found.insert(digest_of(inputs));
        ++count;
    };
    const auto add_with_bytes = [&] {
        add({ConsoleBytes{bytes, replay::ConsolePort::kSerial}});
        add({Packet{0, bytes}});
        add({DiskCompletion{0, 5, true, bytes}});
        add({Entropy{5, bytes}});
    };
    add({});
    for (unsigned bit = 0; bit < 63; ++bit) {
        add({time_of(std::int64_t{1} << bit)});
        add({WallClock{std::chrono::sys_time<std::chrono::nanoseconds>(
            std::chrono::nanoseconds(std::int64_t{1} << bit))}});
    }
    add_with_bytes();
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        bytes.at(bit / 8) = std::byte{1} << (bit % 8);
        add_with_bytes();
        bytes.at(bit / 8) = std::byte{};
    }
    add({ConsoleBytes{bytes, replay::ConsolePort::kVirtio}});
    add({Packet{1, bytes}});
    add({DiskCompletion{0, 5, false, bytes}});
    add({DiskCompletion{1, 5, true, bytes}});
    add({DiskCompletion{0, 6, true, bytes}});
    add({Entropy{6, bytes}});
    add({PowerButton{}});
    CHECK(found.size() == count);
}

TEST_CASE("The order of what a guest is given counts, and where one input ends") {
    const std::array<std::byte, 2> two{std::byte{1}, std::byte{2}};
    const auto first = std::span(two).first(1);
    const auto last = std::span(two).last(1);
    CHECK(digest_of({time_of(1), time_of(2)}) != digest_of({time_of(2), time_of(1)}));
    CHECK(digest_of({ConsoleBytes{two}}) != digest_of({ConsoleBytes{first}, ConsoleBytes{last}}));
}

TEST_CASE("What a guest is given changes its digest with the next exit alone, and that one alone") {
    ExitDigest digest(7, 0);
    digest.add_input(time_of(5));
    CHECK(digest.value() == 7);
    CHECK(digest.given() != 0);

    // One that goes on from what is told of it is the same.
    ExitDigest restored(digest.value(), digest.given());
    for (ExitDigest* each : {&digest, &restored})
        each->add(kvm::exit::Hlt{}, kvm_regs{});
    CHECK(restored.value() == digest.value());
    CHECK(digest.given() == 0);
}

}  // namespace ftvmm::machine
