#include "pair/requests_in_flight.h"

#include <utility>

#include "base/check.h"

namespace ftvmm::pair {

void RequestsInFlight::add(replay::Output output) {
    Key key;
    if (const auto* request = std::get_if<replay::output::DiskRequest>(&output)) {
        key = {life_, true, request->disk, request->id};
    } else if (const auto* entropy = std::get_if<replay::output::EntropyRequest>(&output)) {
        key = {life_, false, 0, entropy->id};
    } else {
        const auto* offload = std::get_if<replay::output::NicOffload>(&output);
        if (offload != nullptr) offloads_.insert_or_assign(offload->nic, *offload);
        return;
    }
    if (requests_.erase(key) > 0) return;
    requests_.emplace(key, Request{true, asked_++, std::move(output)});
}

void RequestsInFlight::add(const replay::Record& record) {
    if (const auto* done = std::get_if<replay::record::DiskCompletion>(&record.body)) {
        answer({told_, true, done->disk, done->id});
    } else if (const auto* entropy = std::get_if<replay::record::Entropy>(&record.body)) {
        answer({told_, false, 0, entropy->id});
    } else if (std::holds_alternative<replay::record::PowerOn>(record.body)) {
        ++told_;
    }
}

void RequestsInFlight::begin_life() {
    ++life_;
    offloads_.clear();
    std::erase_if(requests_, [this](const auto& entry) { return entry.first.life < life_; });
}

void RequestsInFlight::answer(const Key& key) {
    if (requests_.erase(key) == 0) requests_.emplace(key, Request{});
}

std::vector<replay::Output> RequestsInFlight::take() {
    std::map<std::uint64_t, replay::Output*> in_order;
    for (auto& [key, request] : requests_) {
        FTVMM_CHECK(request.is_asked, "a guest is answered what it has asked");
        in_order.emplace(request.number, &request.output);
    }
    std::vector<replay::Output> outputs;
    outputs.reserve(in_order.size() + offloads_.size());
    for (const auto& [nic, offload] : offloads_)
        outputs.emplace_back(offload);
    for (const auto& [number, output] : in_order)
        outputs.push_back(std::move(*output));
    requests_.clear();
    return outputs;
}

}  // namespace ftvmm::pair
