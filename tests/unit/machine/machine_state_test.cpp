#include "vmm/machine/machine_state.h"

#include <proto/state.pb.h>

#include <catch2/catch.hpp>

#include "sample_state.h"
#include "state_fields.h"

namespace ftvmm::machine {
namespace {

using testing::flatten;
using testing::sample_state;

EncodedState encode(const MachineState& state) {
    auto encoded = encode_state(state);
    REQUIRE(encoded);
    return *encoded;
}

// The error of decoding sample_state()'s message after `change`, or "".
template <class Function>
std::string error_after(Function change) {
    auto encoded = encode(sample_state());
    ftvmm::state::MachineState message;
    REQUIRE(message.ParseFromString(encoded.message));
    change(message);
    const auto decoded = decode_state(message.SerializeAsString(), encoded.bulk);
    return decoded ? "" : decoded.error().what();
}

TEST_CASE("Every field of a machine's state comes back as it was, whichever was changed") {
    const auto before = flatten(sample_state());
    std::size_t field = 0;
    for (;; ++field) {
        MachineState state = sample_state();
        testing::Change change(field);
        walk(change, state);
        if (!change.is_done()) break;
        INFO("field " << field);
        const auto wanted = flatten(state);
        REQUIRE(wanted != before);
        const auto encoded = encode(state);
        const auto decoded = decode_state(encoded.message, encoded.bulk);
        REQUIRE(decoded);
        REQUIRE((flatten(*decoded) == wanted));
    }
    CHECK(field > before.size() / 2);
}

TEST_CASE("A number that its register can not hold is refused by the device's name") {
    CHECK(error_after([](auto& message) {
              message.mutable_platform()->mutable_interrupts()->mutable_apic()->set_tpr(256);
          }).find("local APIC") != std::string::npos);
    CHECK(error_after([](auto& message) {
              message.mutable_cpu()->mutable_special()->mutable_cs()->set_selector(0x10000);
          }).find("segment register") != std::string::npos);
    CHECK(error_after([](auto& message) {
              message.mutable_platform()
                  ->mutable_virtio()
                  ->mutable_disks(0)
                  ->mutable_in_flight(0)
                  ->set_kind(5);
          }).find("disk request") != std::string::npos);
}

TEST_CASE("A list that is too short, too long or absent is refused") {
    CHECK(error_after([](auto&) {}).empty());
    CHECK(!error_after([](auto& message) { message.clear_platform(); }).empty());
    CHECK(!error_after([](auto& message) { message.mutable_platform()->clear_serial(); }).empty());
    CHECK(!error_after([](auto& message) {
               message.mutable_platform()->mutable_interrupts()->mutable_pic()->add_chips();
           }).empty());
    CHECK(!error_after([](auto& message) {
               message.mutable_cpu()->mutable_msrs()->RemoveLast();
           }).empty());
    CHECK(!error_after([](auto& message) {
               message.mutable_cpu()->mutable_msrs(0)->set_index(9);
           }).empty());
    CHECK(!error_after([](auto& message) { message.mutable_cpu()->set_xsave("short"); }).empty());
    CHECK(!error_after([](auto& message) {
               for (int i = 0; i < 20; ++i)
                   message.mutable_configuration()->add_disks();
           }).empty());
}

TEST_CASE("Data beside the message is all of it and no more") {
    auto encoded = encode(sample_state());
    encoded.bulk.push_back({});
    CHECK(!decode_state(encoded.message, encoded.bulk));
    encoded.bulk.pop_back();
    encoded.bulk.pop_back();
    CHECK(!decode_state(encoded.message, encoded.bulk));
}

TEST_CASE("A message with bytes changed is refused or becomes some state, and nothing else") {
    const auto encoded = encode(sample_state());
    SeededEntropy random(7);
    for (int round = 0; round < 3000; ++round) {
        std::string message = encoded.message;
        for (std::uint64_t i = random.below(8) + 1; i > 0; --i)
            message.at(random.below(message.size())) = static_cast<char>(random.next_u64());
        (void)decode_state(message, encoded.bulk);
    }
}

TEST_CASE("More under way than a file takes is not saved, with a word on what to do") {
    MachineState state = sample_state();
    state.machine.platform.waiting_serial_bytes.resize(kMaxMessageBytes);
    const auto encoded = encode_state(state);
    REQUIRE(!encoded);
    CHECK(encoded.error().advice().find("then save again") != std::string::npos);
}

TEST_CASE("The state of another machine is refused, and says what differs") {
    const MachineState saved = sample_state();
    CHECK(check_same_machine(saved, saved.config, "web"));
    CHECK(check_same_machine(saved, saved.config, ""));
    const auto difference = [&saved](auto change, std::string_view identity = "web") {
        MachineConfig config = saved.config;
        change(config);
        const auto same = check_same_machine(saved, config, identity);
        return same ? "" : same.error().what();
    };
    CHECK(difference([](MachineConfig&) {}, "mail").find("mail") != std::string::npos);
    CHECK(difference([](MachineConfig& config) {
              config.memory_bytes *= 2;
          }).find("1 MiB of memory, and this one has 2") != std::string::npos);
    CHECK(difference([](MachineConfig& config) {
              config.cpu_model = boot::CpuModel::kV3;
          }).find("CPU model") != std::string::npos);
    CHECK(difference([](MachineConfig& config) {
              config.virtio.disks.pop_back();
          }).find("2 disks, and this one has 1") != std::string::npos);
    CHECK(difference([](MachineConfig& config) {
              config.virtio.disks[1].sectors = 17;
          }).find("16 sectors on disk 1") != std::string::npos);
    CHECK(difference([](MachineConfig& config) {
              config.virtio.disks[0].id = "other";
          }).find("another disk 0") != std::string::npos);
    CHECK(difference([](MachineConfig& config) {
              config.virtio.nics.clear();
          }).find("1 network cards") != std::string::npos);
    CHECK(difference([](MachineConfig& config) {
              config.virtio.nics[0].mac[5] = 9;
          }).find("MAC address") != std::string::npos);
}

}  // namespace
}  // namespace ftvmm::machine
