"""A scorer of likeness as a model of MLServer: the logistic regression in a scorer's JSON file."""

import json
import math

import numpy
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Pairs(MLModel):
    async def load(self) -> bool:
        with open(self.settings.parameters.uri) as file:
            spec = json.load(file)
        slope = spec["calibration"]["slope"]
        self.shape = spec["shape"]
        self.slopes = [feature["weight"] * slope for feature in spec["features"]]
        self.bias = spec["bias"] * slope + spec["calibration"]["intercept"]
        return True

    def score(self, cosine, pdq_distance, pdq_quality, flat, _view):
        shape = self.shape
        none, full = shape["pdq_quality_none"], shape["pdq_quality_full"]
        cosine = min(1.0, max(-1.0, cosine))
        agreement = max(0.0, 1.0 - pdq_distance / shape["pdq_no_evidence"])
        trust = min(1.0, max(0.0, (pdq_quality - none) / (full - none)))
        rise = max(0.0, cosine - shape["cosine_bend"])
        doubt = min(flat, 100.0) / 100.0 * (1.0 - agreement * trust)
        logit = self.bias
        for term, slope in zip((cosine, rise, doubt), self.slopes):
            logit += term * slope
        return 1.0 / (1.0 + math.exp(-logit))

    def answer(self, scores):
        return scores

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        request = payload.inputs[0]
        rows = numpy.array(list(request.data), dtype=numpy.float32).reshape(request.shape)
        scores = [float(numpy.float32(self.score(*row))) for row in rows.tolist()]
        scores = self.answer(scores)
        output = ResponseOutput(name="score", datatype="FP32", shape=[len(scores)], data=scores)
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[output])


class NotNumbers(Pairs):
    """Answers NaN, which no score is."""

    def answer(self, scores):
        return [float("nan")] * len(scores)


class TooFew(Pairs):
    """Leaves out the last score."""

    def answer(self, scores):
        return scores[:-1]
