// SPDX-License-Identifier: Apache-2.0

public import ArgumentParser
public import BenchKit

/// Which CPUs one producer and one consumer are bound to.
internal enum Pin: ExpressibleByArgument {
    case auto
    case none
    case both(Int32, Int32)

    init?(argument: String) {
        switch argument {
        case "auto": self = .auto
        case "none": self = .none
        default:
            let words = argument.split(separator: ",").compactMap { Int32($0) }
            guard words.count == 2, words.allSatisfy({ (0..<1024).contains($0) }) else {
                return nil
            }
            self = .both(words[0], words[1])
        }
    }

    var defaultValueDescription: String { "auto" }

    var cpus: (producer: Int32, consumer: Int32)? {
        switch self {
        case .auto: Machine.firstTwoCPUs
        case .none: nil
        case .both(let producer, let consumer): (producer, consumer)
        }
    }
}

extension Settings.Wait: ExpressibleByArgument {}
