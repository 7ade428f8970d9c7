#include "pair/requests_in_flight.h"

#include <catch2/catch.hpp>

namespace ftvmm::pair {
namespace {

using replay::output::DiskRequest;
using replay::output::EntropyRequest;

replay::Output disk(std::uint32_t number, std::uint64_t id) {
    DiskRequest request;
    request.disk = number;
    request.id = id;
    return request;
}
replay::Output entropy(std::uint64_t id) {
    return EntropyRequest{id, 8};
}
replay::Record done(std::uint32_t number, std::uint64_t id) {
    return {{}, 0, replay::record::DiskCompletion{number, id, true, {}}};
}
replay::Record filled(std::uint64_t id) {
    return {{}, 0, replay::record::Entropy{id, {}}};
}
replay::Record power_on() {
    return {{}, 0, replay::record::PowerOn{}};
}

// "disk 0/7 entropy 3"
std::string text_of(const std::vector<replay::Output>& outputs) {
    std::string text;
    for (const replay::Output& output : outputs) {
        if (!text.empty()) text += ' ';
        if (const auto* request = std::get_if<DiskRequest>(&output)) {
            text += "disk " + std::to_string(request->disk) + "/" + std::to_string(request->id);
        } else if (const auto* set = std::get_if<replay::output::NicOffload>(&output)) {
            text += "nic " + std::to_string(set->nic) + (set->checksum ? " checksum" : "");
        } else {
            text += "entropy " + std::to_string(std::get<EntropyRequest>(output).id);
        }
    }
    return text;
}

TEST_CASE("What was asked and not answered is in flight, in the order in which it was asked") {
    RequestsInFlight requests;
    requests.add(disk(1, 7));
    requests.add(disk(0, 7));
    requests.add(entropy(7));
    requests.add(disk(0, 1));
    requests.add(replay::Output(replay::output::Packet{}));
    requests.add(done(0, 7));
    CHECK(text_of(requests.take()) == "disk 1/7 entropy 7 disk 0/1");
    CHECK(requests.take().empty());
}

TEST_CASE("An answer that is told of before the guest asks is no less an answer") {
    RequestsInFlight requests;
    requests.add(done(0, 1));
    requests.add(filled(1));
    requests.add(disk(0, 1));
    requests.add(entropy(1));
    requests.add(disk(0, 2));
    CHECK(text_of(requests.take()) == "disk 0/2");
}

TEST_CASE("A new life begins with nothing in flight, and keeps what was told of it") {
    RequestsInFlight requests;
    requests.add(disk(0, 1));
    requests.add(power_on());
    requests.add(done(0, 2));
    requests.add(disk(0, 3));
    requests.begin_life();
    requests.add(disk(0, 1));
    requests.add(disk(0, 2));
    CHECK(text_of(requests.take()) == "disk 0/1");
}

TEST_CASE("How the guest set its cards last is told first, and a new life has set nothing") {
    RequestsInFlight requests;
    requests.add(replay::Output(replay::output::NicOffload{.nic = 1, .checksum = true}));
    requests.add(disk(0, 1));
    requests.add(replay::Output(replay::output::NicOffload{.nic = 0, .checksum = true}));
    requests.add(replay::Output(replay::output::NicOffload{.nic = 1}));
    CHECK(text_of(requests.take()) == "nic 0 checksum nic 1 disk 0/1");
    requests.add(power_on());
    requests.begin_life();
    CHECK(requests.take().empty());
}

}  // namespace
}  // namespace ftvmm::pair
